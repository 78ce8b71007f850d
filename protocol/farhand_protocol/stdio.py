"""What `farhandd stdio` and the client that starts it say to each other beside the bytes of the connection.

The client has it started by a program, such as ssh. What the account's startup files print comes before `STDIO_READY`,
and is passed over; the bytes of the connection follow.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

STDIO_READY: Final = b"farhandd stdio is ready\n"
"""The line that `farhandd stdio` writes once it is connected to the service."""

NO_SERVICE: Final = 69
"""The exit code of `farhandd stdio` where no service answers: EX_UNAVAILABLE of sysexits(3), which no shell uses."""
