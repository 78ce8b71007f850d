"""The web door: a process that faces browsers as the edge faces clients, and like it owns nothing and runs nothing.

```
browser ── TLS: HTTP for the page, then a WebSocket with the protocol's frames ── web process ── Unix socket ── core
```

It is an edge with HTTP between TLS and the copying: limits, penalties, verdicts and back-pressure are the edge's own.
Login is between the page and the core: a passkey's signature, which this process cannot make. `framing` is the
WebSocket's framing, `stream` puts it around a connection, `requests` answers HTTP, `exchange` joins them for the edge,
and `process` sets it all up.
"""
