"""What a kept process is asked, and what it answers: one JSON object a line each. No I/O.

    {"do": "list"}
    {"do": "add", "forwards": [["-L", "8080:db:5432"], …]}
    {"do": "cancel", "forwards": [["-L", "8080:db:5432"], …]}
    {"do": "end"}

The answer is `{"ok": REPORT}`, or `{"error": "a sentence"}`. Processes of different versions may meet: what one does
not know it answers with an error.
"""

from __future__ import annotations

import json
from typing import Any, Final, Literal, NamedTuple, TypeAlias, get_args

from farhand_client.forwards.specs import ForwardFlag, ForwardSpec, parse_spec
from farhand_protocol.limits import KiB

MAX_CONTROL_LINE: Final = 1024 * KiB
"""Bytes of a request or an answer: `MAX_KEPT_FORWARDS` forwards with the longest paths, and their numbers, are less."""

MAX_KEPT_FORWARDS: Final = 256
"""Forwards of one kept process: people have ten, and a list of so many is still one screen after the other."""

ControlVerb: TypeAlias = Literal["list", "add", "cancel", "end"]

_VERBS: Final[tuple[ControlVerb, ...]] = get_args(ControlVerb)


class ControlRequest(NamedTuple):
    """A request to a kept process; `forwards` are those to add or to cancel."""

    verb: ControlVerb
    forwards: tuple[ForwardSpec, ...] = ()

    def encode(self) -> bytes:
        """Return the line."""
        values: dict[str, Any] = {"do": self.verb}
        if self.verb in ("add", "cancel"):
            values["forwards"] = [[spec.flag, spec.text] for spec in self.forwards]
        return encode_line(values)

    @classmethod
    def decode(cls, line: bytes) -> ControlRequest:
        """Return the request of a line. Raises ValueError, whose text says what is wrong with it."""
        values = decode_line(line)
        asked = values.get("do")
        verb = next((known for known in _VERBS if known == asked), None)
        if verb is None:
            raise ValueError(f"it is asked to do {asked!r}, which it does not know")
        named = {"do", "forwards"} if verb in ("add", "cancel") else {"do"}
        if values.keys() != named:
            raise ValueError(f"a request to {verb} has {', '.join(sorted(named))} and nothing else")
        listed = values.get("forwards", [])
        if not isinstance(listed, list) or len(listed) > MAX_KEPT_FORWARDS:
            raise ValueError(f"forwards must be a list of at most {MAX_KEPT_FORWARDS}")
        return cls(verb, tuple(map(_spec, listed)))


def encode_line(values: dict[str, Any]) -> bytes:
    """Return an object as a line."""
    return json.dumps(values).encode() + b"\n"


def decode_line(line: bytes) -> dict[str, Any]:
    """Return the object of a line. Raises ValueError."""
    try:
        values = json.loads(line)
    except (ValueError, RecursionError):
        raise ValueError("a line that is no JSON") from None
    if not isinstance(values, dict):
        raise ValueError("a line that is no JSON object")
    return values


def _spec(value: Any) -> ForwardSpec:
    match value:
        case [str(flag), str(text)] if flag in get_args(ForwardFlag):
            return parse_spec(flag, text)  # type: ignore[arg-type]  # one of the flags
    raise ValueError("a forward must be a flag and a text")
