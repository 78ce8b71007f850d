"""A run's output: bytes that are addressed by their offset since the start.

Every byte that a program writes goes from its pipe or terminal into a spool, and from there to whoever reads: live
delivery, resuming after an outage, replay and recording all read the same bytes at the same offsets.

    reader (streams) -> Spool.append -> listeners -> Spool.read -> attachment

- `spool` defines what a spool is, and the one in memory: its writer waits for the readers that hold the run.
- `filespool` is the one on disk, a ring of bounded size: its writer never waits for a reader, who finds a gap instead.
  It also decides which spools a run gets.
- `timeline` records *when* output came, which sizes a terminal had and what was typed. It listens to the spools and is
  never in the way of the bytes.

The memory of all spools and timelines together is bounded by one `SpoolMemory`.
"""
