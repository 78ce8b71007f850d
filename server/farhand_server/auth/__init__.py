"""Who a peer is: proof by key, the files that authorize keys, and the principal that results.

A login by key goes: `login.Authenticator` gets the proof → `verify` checks the SSHSIG signature over this connection's
transcript → `accounts` finds the account and its key files → `keyfile` reads each file safely → `authorized_keys`
parses it → the first line that allows the key makes a `Principal`, anything else a `LoginRefusal`. On the Unix socket
the kernel names the peer, and `accounts.peer_principal` makes the principal.

Nothing here knows processes or messages of the wire, and nothing is cached: a key that is removed cannot log in again.
"""
