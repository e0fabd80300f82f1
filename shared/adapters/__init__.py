"""What stands behind the ports. Only ``shared.wiring`` picks from here."""
