"""The catalogue of audit entries: what the entries of each action say."""
