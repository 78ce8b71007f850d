"""Recordings: what a run wrote and when, to be played back or exported.

events.py reads the service's marks (when) and the run's output (what), and joins them into `RecordedEvent`s. The events
are consumed either by asciicast.py, which encodes them for asciinema's players, or by player.py, which passes them to a
`PlaybackTarget` at the recorded pace. playback.py is the target for the user's terminal; `farhand replay` has another
for files and pipes.
"""
