"""The demo: a real file goes through everything that Strongroom promises, on a scratch data folder."""
