"""The history: every run, from before its start to after its end, in SQLite in the state directory."""
