"""What stands behind the ports; only ``shared.wiring`` knows these rooms."""
