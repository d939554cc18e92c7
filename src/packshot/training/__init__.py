"""Training: one loop that knows phases, the state that it changes, and what watches it."""
