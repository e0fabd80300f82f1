"""Wiring: settings, and the one place that picks adapters and puts the services together."""
