"""The command line of `farhandd`.

`main` has the parser and the exit codes, and imports a command's module only when that command is run: `farhandd check`
loads no event loop, and the edge's process loads no code of the core. `command` has what all commands share. The
commands:

- `serve`: a core, and an edge beside it if there is an address to listen on.
- `edge`: an edge alone.
- `upgrade`: asks the running service to continue as the installed program.
- `admin`: `check`, `host-key`, `authorize` and `audit verify`, which need no running service.
- `explain`: what the policy decides about a request, and why.
"""

from .main import main

__all__ = ["main"]
