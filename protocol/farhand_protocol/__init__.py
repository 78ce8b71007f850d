"""The wire contract of Farhand: frames, messages, states. Pure: no clock, no socket, no task."""
