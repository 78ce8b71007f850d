"""Moves files: what both sides of a transfer do, with blocking calls, in threads.

    Sender:   walk -> ENTRY …         WANT -> read -> DATA, HOLE, COPY … -> FILE_END       FILE_DONE, SKIP
    Receiver:          ENTRY -> decide -> WANT or SKIP        DATA … -> temporary file -> verify -> rename -> FILE_DONE

A transfer has a sender, which has the source files, and a receiver. One of them is the client (`put`: the sender), the
other the transfer worker, a process that has become the user on the service's machine. They exchange the frames of
`wire` over the stdin and stdout of a run, so a transfer has what every run has: it outlives its connection, continues
at the byte, is under flow control, is stopped with its process tree, and is on record.

Everything is pipelined: the sender walks on while files are wanted, and no file costs a round trip. What both sides
keep is bounded: `wire.MAX_UNANSWERED` entries, and a few chunks.

`frames`     what each frame says; no I/O
`wire`       frames and their payloads as bytes; no I/O
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
`sources`    the directories of the sources, a few of them open
`pseudo`     file systems like /proc
`visit`      a directory that is being walked
`walk`       the entries of the sources
`reading`    the content of one source file, and whether it has changed meanwhile
`rate`       at most so many bytes each second
`answers`    what the sender knows of the receiver
`sender`     the sender
`destination` where entries go, and whether they were requested
`temporary`  temporary files beside their targets, and those left by transfers that were cut off
`writing`    the content of one file being received
`attributes` sets owner, mode, times and extended attributes
`arriving`   a file that is to be received, and what is open for it
`unchanged`  which files plainly are up to date
`placing`    what is looked up, made and replaced below the destination
`preparing`  what the receiver has already of a file
`durability` syncs files and directories, many at once
`commit`     makes received files durable, and puts them in place
`spill`      records that are needed at the end, in a file without a name
`deleting`   what --delete removes, once all else has worked
`results`    which files have no answer yet, what was answered, and totals
`contents`   the content of all files: which frames are due
`causes`     why something could not be written, for people; no I/O
`receiver`   the receiver

Nothing here imports pydantic or asyncio: a transfer worker starts in some ten milliseconds. Both sides trust nothing
that the other one sends.
"""
