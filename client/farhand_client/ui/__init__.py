"""The user interface that the command line and the REPL share.

`printing` writes the client's own messages: stdout carries results, stderr carries messages that begin with
`farhand:`. `process` prepares this process before anything else, and `failures` reports what nothing has handled.
`text` escapes what came from the remote host before it is printed, and formats sizes and times. `streams` copies a
run's stdout and stderr to this process's own and its stdin to the run, byte for byte. `outages` reports a lost
connection, `prompts` asks about host keys and passphrases, `interrupts` decides what SIGINT, SIGTERM and SIGHUP do,
`exitcodes` turns outcomes and errors into exit codes, `runs` formats the table of runs, and `terminal_request`
describes the local terminal to the service.

Commands start with little imported: `printing`, `text` and the constants of `exitcodes` import neither asyncio nor the
protocol's models.
"""
