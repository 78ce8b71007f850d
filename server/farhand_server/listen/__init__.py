"""How clients reach the core: through two Unix sockets, one of them through an edge that listens on the network.

    local client ------------------> LocalConnection   (the kernel names the peer)      -> ServerSession
    client --TLS--> edge ----------> ProxiedConnection (PROXY header, then the client)  -> ServerSession
                    edge <---------- VerdictFeeds      (who has logged in)

`unix`        the Unix socket listeners: bind, open, pause for an upgrade, close
`keeper`      restores a Unix socket's file that was removed or replaced
`gate`        decides about each connection when it is accepted
`clients`     handles accepted connections until their session starts
`feeds`       the feeds of login verdicts, the core's end; `feed` has their records
`proxy`       the PROXY protocol header, version 2, which the edge sends and the core parses
`edge_child`  starts and restarts the edge process of `farhandd serve`, and binds the network sockets that it inherits
"""
