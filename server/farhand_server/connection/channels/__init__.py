"""The handlers of channels: one class for each message that opens a channel.

`handler`    the interface between a session and its handlers, and the base of those that answer one question
`run`        a run's output, input and outcome, for `run` and `attach`
`attach`     the same for a run of which only the record is left
`deliver`    one signal to a run, by its id
`listing`    the runs that a caller may see
`recording`  when each part of a run's output arrived
`waiting`    the next match, silence or end in a run's output
`pattern`    compiles and searches the patterns of `waiting`

A handler is made by the dispatch once admission has let the request pass. Its session calls `begin`, passes on what the
client sends, and calls `send_some` whenever the handler's turn to send has come; a handler that has something to send
asks for a turn with `ChannelOutlet.schedule`. Runs call the handler as a `Watcher`.
"""
