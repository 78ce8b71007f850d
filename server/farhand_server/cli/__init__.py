"""The command line of `farhandd`.

`main` has the parser and the exit codes, and imports a command's module only when that command is run: `farhandd check`
loads no event loop, and the edge's process loads no core code. `command` has what all commands share. The commands:

- `serve`: runs a core, and an edge beside it if there is an address to listen on.
- `edge`: runs only an edge.
- `upgrade`: asks the running service to replace its program with the installed one.
- `admin`: `check`, `host-key`, `authorize` and `audit verify`, which need no running service.
- `explain`: shows what the policy decides about a request, and why.
"""

from .main import main

__all__ = ["main"]
