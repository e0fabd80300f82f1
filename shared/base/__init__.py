"""What everything else is built on: errors, ids, models, events, streams. It imports no other package."""
