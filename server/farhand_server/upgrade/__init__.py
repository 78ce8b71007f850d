"""Replacing the program of a running core: its state goes along, and so does the process with all its children."""
