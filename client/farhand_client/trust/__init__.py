"""Whom the client trusts and how it proves who it is: known hosts, ssh-agent, key files.

Nothing here imports cryptography until a private key file has to sign; with an agent it never happens.
"""
