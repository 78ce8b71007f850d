"""`farhand web`: a page on this machine's loopback through which a browser is a client.

```
browser ── WebSocket: the frames of the protocol ── this process ── TLS, login with the user's keys ── service
```

This process logs in, and then copies bytes as the edge does: offsets, credits and outcomes are between the page and the
service. A page that reloads, or whose computer slept, resumes at the byte. `access` decides who may use the page,
`answers` what each HTTP request gets, `pages` holds the files, `hosts` logs in, `relay` copies.
"""
