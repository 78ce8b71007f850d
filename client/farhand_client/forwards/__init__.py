"""Forwards: connections that reach from this machine to where a service's machine can connect, and back.

`agent`  the ssh-agent here, for programs there
`specs`  `[bind:]port:host:hostport` and the other forms of ssh(1), as values
`socks`  SOCKS 4, 4a and 5 as a server speaks them; no I/O
"""
