"""The audit log: who did what, from where, one line each, chained by hashes so that a change can be seen."""
