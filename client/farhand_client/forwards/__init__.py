"""Forwards: connections that reach from this machine to where a service's machine can connect, and back.

`specs`  `[bind:]port:host:hostport` and the other forms of ssh(1), as values
"""
