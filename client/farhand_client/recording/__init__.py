"""Recordings: what a run has written, and when, to be played or exported.

events.py joins the service's marks (when) with the run's output (what) into `RecordedEvent`s; its `RecordingReader`
reads both from the service. The events are consumed either by asciicast.py, which encodes them for asciinema's players,
or by player.py, which hands them to a `PlaybackTarget` at the recorded pace. playback.py is the target that shows them
on the user's terminal; `farhand replay` has another for files and pipes.
"""
