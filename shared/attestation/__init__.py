"""What others state about audit logs: witnesses cosign checkpoints, an authority stamps them."""
