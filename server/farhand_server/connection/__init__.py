"""One connection of a client: from bytes to requests, and from runs back to bytes.

    bytes -> ConnectionTransport -> Connection (protocol, sans-I/O) -> event
          -> session -> dispatch, by phase -> login | admission -> channel handler -> run
          run -> handler.send_some, in turn -> Connection -> ConnectionTransport -> bytes

`session`   one per connection: its open channels, keep-alive, and how it closes
`dispatch`  the table from phase and message type to the function that serves it
`login`     the messages before login
`turns`     the order in which channels send
`channels`  a handler for each message that opens a channel
`context`   what sessions need of the core, and the list of all sessions

A layer knows only those below it: session > dispatch > context, turns > login, channels. What a lower layer needs of a
higher one it names in a protocol of its own (`DispatchSession`, `LoginSession`, `ChannelOutlet`). Nothing here blocks,
and nothing is awaited between a message and its answer, so a request is judged and acted on in one turn of the loop.
"""
