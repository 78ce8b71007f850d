"""Runs: started as asked, stopped as a whole, reported as they ended. Knows no connection and no channel."""
