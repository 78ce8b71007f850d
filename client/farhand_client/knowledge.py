"""What is known of a run whose connection is lost for good, as a sentence."""

from __future__ import annotations

from typing import Final

from farhand_protocol import messages as m

from .errors import ConnectionLost

GRACE: Final = 60.0
"""Seconds that the service goes on with a run nobody holds, unless the request says otherwise."""


def unknown_end(why: ConnectionLost, opening: m.RunRequest | m.Attach, name: str, *, started: bool) -> ConnectionLost:
    """Return `why` with what is known of the run of `opening`; without `started` not even whether it began."""
    text = f"{why}; run {opening.id} was under way and its end is not known: "
    text += "the command may have run, to whatever point"
    again = f"to take it up again: farhand attach {name} {opening.id}"
    if isinstance(opening, m.Attach):
        text += f"; the service may still know it; {again}"
    elif not started:
        text += "; asked for again under the same id, it does not run twice"
    elif opening.on_disconnect == "keep":
        text += f"; the service keeps it; {again}"
    else:
        grace = GRACE if opening.grace is None else opening.grace
        text += f"; the service stops it {grace:g} seconds after it lost its client; {again}"
    lost = ConnectionLost(text, run_id=opening.id)
    lost.__cause__ = why.__cause__
    return lost
