"""Access reviews: who may do what is confirmed by a person from time to time, or ends."""
