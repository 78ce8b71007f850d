"""Forwards: connections that reach from this machine to where a service's machine can connect, and back.

    Forward ── ClientTunnel ── TunnelRun: a run of the service's forward worker, whatever becomes of its connection
    open_connection ┘              └─ `farhand_forwards.tunnel.Tunnel` ── run.stdin, run.stdout

`methods`        those of `Client`; `endpoints` checks their arguments
`forward`        a listener here or there, and its connections; `reports` is what it reports about them
`socks_forward`  the same where connections say by SOCKS where they lead; `socks_udp` for datagrams
`streams`        single connections, without a listener; `sockets` for libraries that want to have a socket
`client_tunnel`  the one tunnel of a client: begun by the first forward, and again after it was lost
`tunnel_run`     one run of the service's forward worker, and the tunnel through it
`socks`          SOCKS 4, 4a and 5 as a server speaks them, no I/O; `socks_server` does the I/O of its handshake
`splice`         joins two pairs of asyncio's streams
`specs`          `[bind:]port:host:hostport` and the other forms of ssh(1), as values
`agent`          the ssh-agent here, for programs there
"""
