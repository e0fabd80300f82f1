"""The journal: a change, its audit entry and its events are one commit."""
