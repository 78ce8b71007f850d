"""The edge: the process that faces the network.

It terminates TLS, keeps limits on those who have not logged in, and copies bytes to the core, which it tells
the client's address. It owns nothing, runs nothing, and parses no frames.
"""
