"""asciicast v2, the format of asciinema's players: https://docs.asciinema.org/manual/asciicast/v2/"""

from __future__ import annotations

import codecs
import json
from typing import Any

from .events import Event, Missing, Resized, Typed, Written
from .rows import RowsEnd


def header(columns: int, rows: int, **others: Any) -> str:
    """Return the first line; of `others` (timestamp, duration, command, title, env) those that are not None."""
    known = {name: value for name, value in others.items() if value is not None}
    return _line({"version": 2, "width": columns, "height": rows, **known})


class Asciicast:
    """Makes lines of events, to be written behind the header.

    Text in it has to be Unicode. A character that is split over two events goes into the second one, and bytes that are
    not UTF-8 become U+FFFD, as in asciinema's own recordings. With `rows_end` newlines become CR LF, as on a terminal.
    Missing output becomes a marker.
    """

    def __init__(self, *, rows_end: bool) -> None:
        decoder = codecs.getincrementaldecoder("utf-8")
        self._decoders = {name: decoder("replace") for name in ("stdout", "stderr", "stdin")}
        self._rows_end = RowsEnd() if rows_end else None

    def lines(self, event: Event) -> str:
        """Return the lines of one event, each with its newline; there may be none."""
        match event:
            case Written():
                data = event.data if self._rows_end is None else self._rows_end.of(event.data)
                return _event(event.at, "o", self._decoders[event.stream].decode(data))
            case Typed():
                typed = _event(event.at, "i", self._decoders["stdin"].decode(event.data))
                return typed + (
                    _event(event.at, "m", "what was typed from here on is not recorded") if event.cut else ""
                )
            case Resized():
                return _event(event.at, "r", f"{event.columns}x{event.rows}")
            case Missing():
                return _event(event.at, "m", str(event.gap))

    def end(self, at: float) -> str:
        """Return what is left of characters that were never completed."""
        typed = _event(at, "i", self._decoders["stdin"].decode(b"", True))
        written = [self._decoders[name].decode(b"", True) for name in ("stdout", "stderr")]
        return typed + _event(at, "o", "".join(written))


def _event(at: float, code: str, text: str) -> str:
    return _line([round(at, 3), code, text]) if text else ""


def _line(value: object) -> str:
    return json.dumps(value, ensure_ascii=False) + "\n"
