"""Who is attached to a run: which clients hold it, how far each has read, who feeds it, and how long an absent one is
waited for.

A run belongs to the service, and clients come and go. Each has an `Attachment`, known by a key of the client's own
choice, under which it resumes after an outage. An attachment may

- *hold* the run: its spools keep what the holders have not acknowledged, and the run is not stopped as long as a holder
  is connected, or absent for less than the grace period;
- *feed* the run: its bytes are the program's stdin;
- *watch* it: its `Watcher` is notified of the start, the exit and the outcome.

`attachments` has this for every run. `terminal` is what differs for a run with a terminal: several clients may type,
each shows the terminal in a size of its own, of which the smallest counts, and the program waits only for clients that
are connected.
"""
