"""Carries connections: what both sides of a forward do.

    client:  listener -> Tunnel.open -> OPEN -> Tunnel -> Dialer -> target        (-L, -D, -W, open_connection)
    worker:  listener -> Tunnel.open -> OPEN -> Tunnel -> Dialer -> target        (-R; the client asks with LISTEN)

A tunnel joins a client and a forward worker, a process that has become the user on the service's machine. They exchange
frames over the stdin and stdout of a run, so a tunnel has what every run has: it outlives its connection, continues at
the byte, is under flow control, is stopped with its process tree, and is on record. Inside, each connection is a flow
with credit of its own, so that a slow peer holds up only itself.

`tunnel`, `flow`                    a tunnel and its connections: `open`, `listen`, `relay`, `streams`
`listening`, `dialing`              listeners and connections on this machine; `accepting` is what listeners share
`datagrams`, `datagram_listener`    the same for UDP
`relay`, `flow_transport`, `ends`   the near end of a flow: a socket, or a transport of asyncio
`mux`, `flow_events`, `flow_state`  the rules of both sides; no I/O
`windows`, `scanner`, `wire`        flow control, and the frames; no I/O
`unread`                            what nobody takes yet; no I/O
`targets`                           where connections lead, where listeners listen, why one was refused; no I/O

Nothing here imports pydantic: a forward worker starts in some ten milliseconds. Both sides trust nothing that the other
one sends.
"""
