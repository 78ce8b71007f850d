"""The command line of `farhandd`.

`main` is the entry, and turns whatever a command has not handled into one sentence and an exit code. `commands` has
the parser, and imports a command's module only when that command is run: `farhandd check` loads no event loop, and the
edge's process loads no core code. `process` prepares the process; `report` prints results and failures, and has the
exit codes; `command` reads the configuration. The commands:

- `serve`: runs a core, and an edge beside it if there is an address to listen on.
- `edge`, `web`: run only an edge, or only the web door; `facing` has what both have in common.
- `stdio`: joins stdin and stdout to the running service's socket. It is started for each connection that ssh carries.
- `upgrade`: asks the running service to replace its program with the installed one.
- `admin`: `check`, `host-key`, `authorize` and `audit verify`, which need no running service.
- `explain`: shows what the policy decides about a request, and why.
"""

from .main import main

__all__ = ["main"]
