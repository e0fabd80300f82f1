"""``python -m client``: the same as ``strongroom``."""

from client.main import main

main()
