"""The ports: what the services need from the outside world, as Protocols.

Streams are ``AsyncIterator`` of buffers; nothing holds a whole content in memory. Every adapter keeps
the semantics written here, and one contract test suite a port holds it to them.
"""
