"""The edge: the process that faces the network.

The edge terminates TLS, limits connections that have not logged in, announces the client's address to the core, and
copies bytes both ways. It owns nothing, runs nothing, and parses no frames. It may crash or restart without affecting
the core.

The path of a connection: `acceptor` accepts it → `arrivals` waits for its first bytes, in which `client_hello` may
find a ticket → `limiter` admits or refuses it (`entrance` asks it) → `connection` does the TLS handshake (`tls`,
`records`), connects to the core's Unix socket and sends a PROXY header → `relay` copies bytes both ways (`streams`)
until one side ends. Meanwhile the core reports over `login_verdicts` which connections have logged in and which were
refused; the limiter then frees the slot or charges the penalty. `edge` manages all connections; `process` starts,
reloads and drains the edge's process.
"""
