"""The entry points: each trigger reads its message, calls one service and responds."""
