"""asciicast v2, the format of asciinema's players: https://docs.asciinema.org/manual/asciicast/v2/"""

from __future__ import annotations

import codecs
import json
from typing import Any

from farhand_protocol.sentences import escape_surrogates

from .events import GapEvent, InputEvent, NewlineTranslator, OutputEvent, RecordedEvent, ResizeEvent


def asciicast_header(columns: int, rows: int, **fields: Any) -> str:
    """Return the first line. `fields` (timestamp, duration, command, title, env) that are None are left out.

    The file is UTF-8: a byte that is not, in a title from the command line, is written as `\\xff`.
    """
    known = {
        name: escape_surrogates(value) if isinstance(value, str) else value
        for name, value in fields.items()
        if value is not None
    }
    return _line({"version": 2, "width": columns, "height": rows, **known})


class AsciicastEncoder:
    """Encodes events as lines to be written after the header.

    Text has to be Unicode: a character that is split over two events becomes part of the second one, and bytes that are
    not UTF-8 become U+FFFD, as in asciinema's own recordings. With `translate_newlines` LF becomes CR LF, as on a
    terminal. Missing output becomes a marker.
    """

    def __init__(self, *, translate_newlines: bool) -> None:
        decoder = codecs.getincrementaldecoder("utf-8")
        self._decoders = {name: decoder("replace") for name in ("stdout", "stderr", "stdin")}
        self._newlines = NewlineTranslator() if translate_newlines else None

    def encode(self, event: RecordedEvent) -> str:
        """Return the lines for one event, each with its newline; possibly none."""
        match event:
            case OutputEvent():
                data = event.data if self._newlines is None else self._newlines.translate(event.data)
                return _event(event.at, "o", self._decoders[event.stream].decode(data))
            case InputEvent():
                lines = _event(event.at, "i", self._decoders["stdin"].decode(event.data))
                return lines + (_event(event.at, "m", "input from here on is not recorded") if event.cut else "")
            case ResizeEvent():
                return _event(event.at, "r", f"{event.columns}x{event.rows}")
            case GapEvent():
                return _event(event.at, "m", str(event.gap))

    def finish(self, at: float) -> str:
        """Return the lines for characters that were never completed."""
        typed = _event(at, "i", self._decoders["stdin"].decode(b"", True))
        written = [self._decoders[name].decode(b"", True) for name in ("stdout", "stderr")]
        return typed + _event(at, "o", "".join(written))


def _event(at: float, code: str, text: str) -> str:
    return _line([round(at, 3), code, text]) if text else ""


def _line(value: object) -> str:
    return json.dumps(value, ensure_ascii=False) + "\n"
