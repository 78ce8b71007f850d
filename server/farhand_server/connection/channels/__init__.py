"""The channel handlers: one class for each message that opens a channel.

`handler`    the interface between a session and its handlers, and the base of handlers that answer one query
`judged`     stands in for a run while its request is being judged
`run`        a run's output, input and outcome, for `run` and `attach`
`attach`     the same for a past run, of which only the record is left
`deliver`    sends one signal to a run, named by its id
`listing`    lists the runs that a caller may see
`recording`  when each part of a run's output arrived
`waiting`    waits for a match, for silence or for the end of a run's output
`pattern`    compiles and searches the patterns of `waiting`
`searches`   whose search is next, and how much memory the patterns of an account may use

The dispatch creates a handler once admission has allowed the request. The session then calls `begin`, passes on what
the client sends, and calls `send_some` whenever it is the handler's turn to send. A handler that has something to send
asks for a turn with `ChannelOutlet.schedule`. Runs notify the handler through the `Watcher` interface.
"""
