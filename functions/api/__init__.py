"""The HTTP API: one router a capability, each route behind the same guard."""
