"""Moves files: what both sides of a transfer do, with blocking calls, in threads.

    Sender:   walk -> ENTRY …         WANT -> read -> DATA, HOLE, COPY … -> FILE_END       FILE_DONE, SKIP
    Receiver:          ENTRY -> decide -> WANT or SKIP        DATA … -> temporary file -> verify -> rename -> FILE_DONE

A transfer has a sender, which has the source files, and a receiver. One of them is the client (`put`: the sender), the
other the transfer worker, a process that has become the user on the service's machine. They exchange the frames of
`wire` over the stdin and stdout of a run, so a transfer has what every run has: it outlives its connection, continues
at the byte, is under flow control, is stopped with its process tree, and is on record.

Everything is pipelined: the sender walks on while files are wanted, and no file costs a round trip. What both sides
keep is bounded: `wire.MAX_UNANSWERED` entries, and a few chunks.

`wire`       frames and their payloads; no I/O
`options`    what is transferred and how; no I/O
`names`      which names and paths are accepted from the other side; no I/O
`planning`   what the receiver decides for each entry, and what it deletes; no I/O
`selection`  which files are taken: excludes, sizes, times; no I/O
`delta`      which parts of a file the other side has already; no I/O
`hashes`     the digests of content; no I/O
`events`     what a transfer reports while it goes on, and its totals
`stream`     the frames' way in and out
`opening`    opens paths below a directory, and nothing outside of it
`globs`      patterns of source files
`walk`       the entries of the sources
`reading`    the content of one source file, and whether it has changed meanwhile
`rate`       at most so many bytes each second
`answers`    what the sender knows of the receiver
`sender`     the sender
`temporary`  temporary files beside their targets, and those left by transfers that were cut off
`writing`    the content of one file being received
`commit`     makes received files durable, and puts them in place
`deleting`   what --delete removes, once all else has worked
`receiver`   the receiver

Nothing here imports pydantic or asyncio: a transfer worker starts in some ten milliseconds. Both sides trust nothing
that the other one sends.
"""
