"""One client connection: turns bytes into requests, and what runs produce back into bytes.

    bytes -> ConnectionTransport -> Connection (protocol, sans-I/O) -> event
          -> session -> dispatch, by phase -> login | admission -> channel handler -> run
          run -> handler.send_some, in turn -> Connection -> ConnectionTransport -> bytes

`session`   one per connection: its open channels, its keep-alive, and how it closes
`dispatch`  the table from phase and message type to the function that serves it
`login`     the messages before login
`turns`     the order in which channels send
`channels`  one handler for each message that opens a channel
`context`   what sessions need from the core, and the list of all sessions

Each layer knows only the layers below it: session > dispatch > context, turns > login, channels. If a lower layer needs
something from a higher one, it declares that in its own `typing.Protocol` (`DispatchSession`, `LoginSession`,
`ChannelOutlet`). Nothing here blocks, and nothing is awaited between a message and its answer, so a request is judged
and executed in one turn of the loop.
"""
