"""The house: services, ports, adapters and cryptography. No web or functions framework in here."""
