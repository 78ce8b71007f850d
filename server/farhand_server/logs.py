"""Structured logs on stderr: one event per line, as `key=value` pairs or JSON.

An event is a fixed sentence with typed fields. A field cannot be bytes or a mapping, so stdin and environments cannot
end up in a log. A value may contain anything that a client sends: unprintable characters are escaped, so that it can
neither end the line nor control a terminal.

A thread writes the lines, because stderr may block (a stopped terminal, a journald that is restarting) and the service
must go on. Lines that do not fit into the queue are dropped and counted, and the count is logged.
"""

import json
import logging
import math
import os
import re
import threading
import traceback
from collections import deque
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, Protocol

from farhand_protocol.sentences import escape_surrogates

from .runtime import block_all_signals

LogFormat = Literal["auto", "keyvalue", "json"]
LogLevel = Literal["debug", "info", "warning", "error"]
LogValue = str | int | float | bool | Path | BaseException | None
"""The type of a field's value. A field with None is omitted. An exception is logged as its type and message."""

MAX_QUEUED_LINES = 1024
"""Maximum number of lines waiting for stderr: under 1 MiB of ordinary lines, and at most 16 MiB if all are
tracebacks."""
MAX_VALUE = 1000
"""Maximum characters of one value; longer values are truncated. This usually keeps a line below PIPE_BUF (4,096 bytes),
so that the lines of two processes on one pipe do not mix."""
MAX_TRACEBACK = 8000
"""Maximum characters of a traceback. Its end is kept, because that says most."""

# sd-daemon(3): journald gives a line that begins with <N> that syslog priority.
_PRIORITY = {"debug": 7, "info": 6, "warning": 4, "error": 3}
_LEVELS: tuple[LogLevel, ...] = ("debug", "info", "warning", "error")
_BARE = re.compile(r"[A-Za-z0-9_./:@%+,~-]+", re.ASCII)


class LineLimit(Protocol):
    """Limits lines, except those of the level debug."""

    def admit(self) -> int | None:
        """Return how many lines were kept back since the last one; None if this one must be kept back, too."""


class Logger:
    """Writes events to a sink, adding the logger's own fields to each, as far as `limit` admits them."""

    def __init__(self, sink: "LogSink", fields: Mapping[str, LogValue], limit: LineLimit | None = None) -> None:
        self._sink = sink
        self._fields = fields
        self._limit = limit

    @property
    def fields(self) -> Mapping[str, LogValue]:
        """The fields that are added to each event."""
        return self._fields

    def bind(self, **fields: LogValue) -> "Logger":
        """Return a logger that adds `fields` to every event."""
        return Logger(self._sink, {**self._fields, **fields}, self._limit)

    def limited(self, limit: LineLimit) -> "Logger":
        """Return a logger whose lines `limit` may keep back. The next one then has their number as `kept_back`."""
        return Logger(self._sink, self._fields, limit)

    def debug(self, event: str, **fields: LogValue) -> None:
        """Log an event that helps in diagnosing a problem."""
        if self._sink.verbose:
            self._sink.log("debug", event, {**self._fields, **fields})

    def info(self, event: str, **fields: LogValue) -> None:
        """Log an event that an administrator may want to find later."""
        self._log("info", event, fields)

    def warning(self, event: str, **fields: LogValue) -> None:
        """Log a problem despite which the service continues to work."""
        self._log("warning", event, fields)

    def error(self, event: str, **fields: LogValue) -> None:
        """Log an unexpected failure, with the traceback of any exception in `fields`."""
        self._log("error", event, fields)

    def _log(self, level: LogLevel, event: str, fields: Mapping[str, LogValue]) -> None:
        kept_back = 0 if self._limit is None else self._limit.admit()
        if kept_back is not None:
            counted = {"kept_back": kept_back} if kept_back else {}
            self._sink.log(level, event, {**self._fields, **fields, **counted})


class LogSink:
    """Writes lines to a file descriptor through a bounded queue and a thread.

    Until `start` it writes directly, in the default format.
    """

    def __init__(self, descriptor: int = 2) -> None:
        self._descriptor = descriptor
        self._journal = False
        self._json = False
        self._threshold = _LEVELS.index("info")
        self.verbose = False
        """Whether lines of the level debug are logged."""
        self._queue: deque[bytes] = deque()
        self._dropped = 0
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closing = False
        self._handler = _LoggingHandler(self)

    def configure(
        self, format: LogFormat = "auto", level: LogLevel = "info", environ: Mapping[str, str] = os.environ
    ) -> None:
        """Set what is logged and in which format. May be called at any time."""
        self._json = format == "json"
        self._threshold = _LEVELS.index(level)
        self.verbose = level == "debug"
        self._journal = is_journal(self._descriptor, environ)

    def start(self) -> None:
        """Start the writing thread. From now until `close`, also log the warnings and errors of `logging`."""
        self._closing = False
        logging.getLogger().addHandler(self._handler)
        self._thread = threading.Thread(target=self._write_queue, name="logs", daemon=True)
        self._thread.start()

    def close(self, timeout: float = 2.0) -> None:
        """Write queued lines for at most `timeout` seconds, so that a stuck stderr does not delay the exit."""
        logging.getLogger().removeHandler(self._handler)
        thread, self._thread = self._thread, None
        if thread is not None:
            with self._changed:
                self._closing = True
                self._changed.notify()
            thread.join(timeout)

    def log(self, level: LogLevel, event: str, fields: Mapping[str, LogValue]) -> None:
        """Log an event unless `level` is below the configured one. Never blocks once started."""
        if _LEVELS.index(level) >= self._threshold:
            self._put(self._line(level, event, fields))

    def _line(self, level: LogLevel, event: str, fields: Mapping[str, LogValue]) -> bytes:
        members: dict[str, object] = {}
        if not self._journal:
            members["time"] = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
            members["level"] = level
        elif self._json:
            members["level"] = level
        members["msg"] = _plain(event)
        for key, value in fields.items():
            if value is not None:
                members[key] = _plain(value)
                if level == "error" and isinstance(value, BaseException):
                    members[f"{key}_traceback"] = "".join(traceback.format_exception(value))[-MAX_TRACEBACK:]
        text = json.dumps(members) if self._json else " ".join(f"{k}={quote(v)}" for k, v in members.items())
        prefix = f"<{_PRIORITY[level]}>" if self._journal else ""
        return f"{prefix}{text}\n".encode()

    def _put(self, line: bytes) -> None:
        if self._thread is None:
            self._write(line)
            return
        with self._changed:
            if len(self._queue) < MAX_QUEUED_LINES:
                self._queue.append(line)
                self._changed.notify()
            else:
                self._dropped += 1

    def _write_queue(self) -> None:
        block_all_signals()
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue or self._closing)
                if not self._queue:
                    return
                line, dropped, self._dropped = self._queue.popleft(), self._dropped, 0
            self._write(line)
            if dropped:
                self._write(self._line("warning", "log lines dropped: stderr was stuck", {"count": dropped}))

    def _write(self, line: bytes) -> None:
        try:
            while line:
                line = line[os.write(self._descriptor, line) :]
        except OSError:
            pass  # nobody reads the log, so there is nowhere to report it


def is_journal(descriptor: int, environ: Mapping[str, str]) -> bool:
    """Return whether `descriptor` is the journal's socket, whose device and inode are in JOURNAL_STREAM
    (systemd.exec(5))."""
    try:
        status = os.fstat(descriptor)
    except OSError:
        return False
    return environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


def quote(value: object) -> str:
    """Return `value` as it is written in `key=value`: unquoted if it is plain, otherwise in quotes with JSON's
    escapes, and `\\xff` for a byte that is not UTF-8."""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    if _BARE.fullmatch(text):
        return text
    return '"' + "".join(_escape(c) for c in text) + '"'


def _escape(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    if character.isprintable():
        return character
    if "\udc80" <= character <= "\udcff":
        return escape_surrogates(character)
    return json.dumps(character)[1:-1]


def _plain(value: object) -> object:
    if isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return value  # JSON has no infinity
    if isinstance(value, BaseException):
        text = f"{type(value).__name__}: {value}"
    elif isinstance(value, str | float | Path):
        text = str(value)
    else:  # this comes from code that was not type-checked, and the value may be something that must not be logged
        text = f"({type(value).__name__} withheld)"
    return text if len(text) <= MAX_VALUE else text[: MAX_VALUE - 1] + "…"


class _LoggingHandler(logging.Handler):
    """Forwards events from the standard library's `logging`, through which asyncio reports unretrieved exceptions."""

    def __init__(self, sink: LogSink) -> None:
        super().__init__(logging.WARNING)
        self._sink = sink

    def emit(self, record: logging.LogRecord) -> None:
        level: LogLevel = _LEVELS[min(max(record.levelno // 10, 1), 4) - 1]
        error = record.exc_info[1] if record.exc_info else None
        self._sink.log(level, record.getMessage(), {"logger": record.name, "error": error})
