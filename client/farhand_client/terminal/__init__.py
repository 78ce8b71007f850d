"""The user's terminal while a run's terminal is shown on it."""
