"""Messages as dicts, for programs that must start at once: no pydantic, which takes longer to import than a command on
another machine takes to run.

The models in `messages` are the contract. `schema` is generated from them (`python -m tests.support.plain_schema`), a
test keeps it current, and both codecs accept, return and refuse the same: `codec` checks and converts values as the
schema says.
"""
