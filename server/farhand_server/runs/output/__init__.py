"""A run's output: bytes addressed by their offset from the start.

Every byte that a program writes goes from its pipe or terminal into a spool, and from there to the readers. Live
delivery, resuming after an outage, replay and recording all read the same bytes at the same offsets.

    reader (streams) -> Spool.append -> listeners -> Spool.read -> attachment

- `spool` defines the interface of a spool, and the spool in memory, whose writer waits for the readers that hold the
  run.
- `filespool` is the spool on disk, a ring of bounded size, whose writer never waits for readers; a slow reader finds a
  gap. The module also decides which spools a run gets.
- `timeline` records *when* output arrived, which sizes a terminal had, and what was typed. It only listens to the
  spools and never delays the bytes.

One `SpoolMemory` bounds the memory of all spools and timelines together.
"""
