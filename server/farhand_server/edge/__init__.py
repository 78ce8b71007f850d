"""The edge: the process that faces the network.

It terminates TLS, limits connections that have not logged in, and copies bytes to the core, to which it announces the
client's address. It owns nothing, runs nothing, and parses no frames; it may crash or restart without the core.

A connection goes: `acceptor` accepts it → `limiter` admits it or refuses it → `connection` does the TLS handshake
(`streams`), connects to the core's Unix socket and sends a PROXY header → `relay` copies bytes both ways until one side
ends. Meanwhile `login_verdicts` receives from the core which connections have logged in and which were refused, and
the limiter frees the slot or charges the penalty. `edge` holds all connections together; `process` is the life of the
process: start, reload, drain.
"""
