"""What a run has written, and when: played again, or exported."""
