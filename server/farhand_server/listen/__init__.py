"""How clients reach the core: two Unix sockets, and the edge that listens on the network for it.

    local client ------------------> LocalConnection   (the kernel names the peer)      -> ServerSession
    client --TLS--> edge ----------> ProxiedConnection (PROXY header, then the client)  -> ServerSession
                    edge <---------- VerdictFeeds      (who has logged in)

`unix`        the listeners: bound, opened, paused for an upgrade, closed
`clients`     what happens to an accepted connection until its session starts; the feeds of login verdicts
`proxy`       the PROXY protocol header, version 2, which the edge sends and the core parses
`edge_child`  the edge process that `farhandd serve` starts and restarts; the network sockets that it inherits
"""
