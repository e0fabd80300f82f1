"""Dead letters: messages that subscriptions gave up on, listed and replayed."""
