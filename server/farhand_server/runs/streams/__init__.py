"""The service's ends of what a program has as stdin, stdout and stderr: pipes, or one terminal.

    client's bytes -> PipeInput | TerminalInput -> pipe | terminal -> program
    program -> pipe | terminal -> PipeReader | TerminalReader -> spool

- `streams` opens the descriptors for a program and closes the service's ends: `PipeStreams` and `TerminalStreams`, two
  implementations of `ProgramStreams`.
- `readers` moves output into a spool, in large reads, and stops while the spool is full.
- `pipe_input` and `terminal_input` address stdin by offset, so that what a client sends twice after an outage arrives
  once. To a terminal several clients may type.
- `pty` is the pseudoterminal itself: its size, modes and special characters.

All descriptors are non-blocking, and everything is done by callbacks of the event loop: a chunk of output passes
through no task and no queue on its way to the spool.
"""
