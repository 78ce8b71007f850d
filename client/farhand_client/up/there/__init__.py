"""What `farhand up` does on the other machine.

These modules are sent there as text (`farhand_client.up.bootstrap`) and are run by that machine's Python. Nothing of
them stays. They use the standard library of Python 3.11 alone, and each other. `program` answers requests;
`record` remembers what was made, so that all of it, and nothing else, can be taken back.
"""
