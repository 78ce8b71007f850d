"""Who a peer is: proof by key, the files that admit keys, and the principal that comes of it.

Knows no processes and no messages of the wire.
"""
