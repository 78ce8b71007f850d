"""Runs: one execution of one command each, from its plan to its outcome and its place in the history.

    Registry.start(plan) -> LiveRun -> Execution -> Process, streams -> spools -> attachments -> clients
                                   '-> announced -> KeptRuns -> PastRun

A run belongs to the service and not to a connection: it starts, writes and ends whether or not anybody is attached.

- `registry` starts runs, finds them by id, and sees each to its end and into the record. `kept` owns those that are
  over until their output is deleted; what is on record after that is a `past.PastRun`.
- `run` is what a run is to the rest of the service: identity, output, attachments, result. `execution` is its program
  while it runs, with `stop` for the ladder TERM, grace, KILL and the timeouts. `plan` has what is decided before the
  start, and the result.
- `process/` starts programs and ends them with everything they have started; `streams/` has the service's ends of their
  pipes and terminals; `output/` keeps what they write; `attachments/` are the clients.
- `environment` is what a program finds around it.

Upgrade: every part returns a record of itself by `snapshot` and is made again by `restore`, in the program that
replaces this one; see `snapshots`. No part reads the private attributes of another.

Nothing here knows connections or messages: a client is a `Watcher`, and of the wire only the outcomes are known.
"""
