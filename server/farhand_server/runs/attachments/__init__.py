"""Who is attached to a run: which clients hold it, how far each has read, who feeds it, and how long the run waits for
an absent client.

A run belongs to the service, and clients come and go. Each client has an `Attachment`, identified by a key that the
client chooses, with which it resumes after an outage. An attachment may

- *hold* the run: the run's spools keep what its holders have not acknowledged, and the run is not stopped while a
  holder is connected or has been absent for less than the grace period;
- *feed* the run: its bytes are the program's stdin;
- *watch* it: its `Watcher` is notified of the start, the exit and the outcome.

`attachments` implements this for every run. `terminal` has what differs for a run with a terminal: several clients may
type, each shows the terminal in its own size (the smallest size counts), and the program waits only for connected
clients.
"""
