"""Documents: uploaded, sealed, listed, opened, deleted."""
