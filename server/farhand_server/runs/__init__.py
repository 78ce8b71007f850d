"""Runs: each is one execution of one command, from its plan to its outcome and its record in the history.

    Registry.start(plan) -> LiveRun -> Execution -> Process, streams -> spools -> attachments -> clients
                                   '-> announced -> KeptRuns -> PastRun

A run belongs to the service, not to a connection: it starts, writes and ends whether or not a client is attached.

- `registry` starts runs, finds them by id, and records how they end. `kept` owns runs that are over until their output
  is deleted; after that, only a record is left, a `past.PastRun`.
- `run` is a run as the rest of the service sees it: identity, output, attachments, result. `execution` is its program
  while that runs; `stop` has the timeouts and the ladder TERM, grace, KILL. `plan` has what is decided before the
  start, and the result.
- `process/` starts programs, and ends them with everything they have started. `streams/` has the service's ends of
  their pipes and terminals, `output/` stores what they write, `attachments/` manages the attached clients.
- `environment` builds a program's environment and finds its working directory.

For an upgrade, every part returns a record of its state from `snapshot`, and the program that replaces this one
recreates the part with `restore`; see `snapshots`. No part reads another's private attributes.

Nothing here knows about connections or messages: a client is a `Watcher`, and the outcomes are the only protocol types
used.
"""
