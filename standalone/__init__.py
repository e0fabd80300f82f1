"""The host that runs the function app on one machine: HTTP server, message pump, timers."""
