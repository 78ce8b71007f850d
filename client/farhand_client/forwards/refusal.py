"""What is said about a forward that cannot be made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from farhand_client.errors import ForwardError
from farhand_forwards.targets import InetTarget

if TYPE_CHECKING:
    from .specs import ForwardSpec


def refused_forward(spec: ForwardSpec, error: ForwardError) -> ForwardError:
    """Return the error with the forward in it that cannot be made, and what to write instead if its port is in use."""
    port = spec.listen.port if isinstance(spec.listen, InetTarget) else 0
    instead = "; choose another port, or 0 for any that is free" if error.cause == "busy" and port else ""
    return ForwardError(error.cause, f"{spec}: {error}{instead}")
