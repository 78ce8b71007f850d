"""The service's ends of a program's stdin, stdout and stderr: pipes, or one terminal.

    client's bytes -> PipeInput | TerminalInput -> pipe | terminal -> program
    program -> pipe | terminal -> PipeReader | TerminalReader -> spool

- `streams` opens the descriptors for a program and closes the service's ends. `PipeStreams` and `TerminalStreams` are
  the two implementations of `ProgramStreams`.
- `readers` copies output into a spool, in large reads, and pauses while the spool is full.
- `pipe_input` and `terminal_input` address stdin by offset, so that bytes that a client sends again after an outage
  arrive only once. Several clients may type at one terminal.
- `pty` is the pseudoterminal itself: its size, modes and special characters.

All descriptors are non-blocking, and all work is done in event loop callbacks: on its way to the spool, a chunk of
output passes through no task and no queue.
"""
