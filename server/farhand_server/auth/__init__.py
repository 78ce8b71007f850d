"""Authentication: proof by key, the files that authorize keys, and the resulting principal.

The steps of a login by key: `login.Authenticator` receives the proof → `verify` checks the SSHSIG signature over this
connection's transcript → `accounts` finds the account and its key files → `keyfile` reads each file safely →
`authorized_keys` parses it → the first line that allows the key results in a `Principal`, anything else in a
`LoginRefusal`. On the Unix socket the kernel names the peer, and `accounts.peer_principal` returns the principal.

Nothing here knows about processes or protocol messages. Nothing is cached, so a removed key cannot log in again.
"""
