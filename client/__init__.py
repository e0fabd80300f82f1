"""The `strongroom` command: recovers from a target without a server, and talks to the API."""
