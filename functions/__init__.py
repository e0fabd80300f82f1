"""The doors: each trigger reads its message, calls one service and answers."""
