"""The application core: services, ports, adapters, cryptography. No web or functions framework."""
