"""The audit log: who did what, in order, and a tree over it that shows any change."""
