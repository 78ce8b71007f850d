"""Structured logs on stderr: one event a line, as `key=value` or as JSON.

An event is a fixed sentence and typed fields; there is no way to hand it bytes or a mapping, so what a
run reads on stdin, and an environment, cannot end up in a log. A value can hold anything a stranger
sends: whatever is not printable is escaped, so it can neither end the line nor steer a terminal.

Lines are written by a thread, because stderr may block (a stopped terminal, a journald that is being
restarted) and the service must go on: what does not fit in the queue is dropped, counted, and said.
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
from typing import Literal

from .runtime import block_all_signals

LogFormat = Literal["auto", "keyvalue", "json"]
LogLevel = Literal["debug", "info", "warning", "error"]
LogValue = str | int | float | bool | Path | BaseException | None
"""What a field may hold. None leaves the field out; an exception is its type and message."""

MAX_QUEUED_LINES = 1024
"""Lines waiting for stderr: under 1 MiB of ordinary lines, and no more than 16 MiB if all were tracebacks."""
MAX_VALUE = 1000
"""Characters of one value; longer ones are cut, which keeps a line below PIPE_BUF (4,096 bytes) as a rule,
so that lines of two processes on one pipe do not mix."""
MAX_TRACEBACK = 8000
"""Characters of a traceback, of which the end says most."""

# sd-daemon(3): a line that begins with <N> is taken by journald with that syslog priority.
_PRIORITY = {"debug": 7, "info": 6, "warning": 4, "error": 3}
_LEVELS: tuple[LogLevel, ...] = ("debug", "info", "warning", "error")
_BARE = re.compile(r"[A-Za-z0-9_./:@%+,~-]+", re.ASCII)


class Logger:
    """Writes events to a sink; `bind` makes others with fields of their own."""

    def __init__(self, sink: "Sink", fields: Mapping[str, LogValue]) -> None:
        self._sink = sink
        self._fields = fields

    def bind(self, **fields: LogValue) -> "Logger":
        """A logger whose every event carries *fields* too."""
        return Logger(self._sink, {**self._fields, **fields})

    def debug(self, event: str, **fields: LogValue) -> None:
        """For whoever is looking for a fault."""
        self._sink.log("debug", event, {**self._fields, **fields})

    def info(self, event: str, **fields: LogValue) -> None:
        """What an administrator wants to find afterwards."""
        self._sink.log("info", event, {**self._fields, **fields})

    def warning(self, event: str, **fields: LogValue) -> None:
        """Something is not as it should be; the service goes on."""
        self._sink.log("warning", event, {**self._fields, **fields})

    def error(self, event: str, **fields: LogValue) -> None:
        """Something failed that should not have. The traceback of an exception in *fields* comes along."""
        self._sink.log("error", event, {**self._fields, **fields})


class Sink:
    """A file descriptor that lines go to, by way of a bounded queue and a thread.

    Until `start` it writes straight away, in the default format.
    """

    def __init__(self, descriptor: int = 2) -> None:
        self._descriptor = descriptor
        self._journal = False
        self._json = False
        self._threshold = _LEVELS.index("info")
        self._queue: deque[bytes] = deque()
        self._dropped = 0
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closing = False
        self._from_logging = _FromLogging(self)

    def configure(
        self, format: LogFormat = "auto", level: LogLevel = "info", environ: Mapping[str, str] = os.environ
    ) -> None:
        """Sets what is logged and how; may be called again at any time."""
        self._json = format == "json"
        self._threshold = _LEVELS.index(level)
        self._journal = is_journal(self._descriptor, environ)

    def start(self) -> None:
        """Starts the writing thread, until `close`; what `logging` has to say from warnings up comes along."""
        self._closing = False
        logging.getLogger().addHandler(self._from_logging)
        self._thread = threading.Thread(target=self._write_queue, name="logs", daemon=True)
        self._thread.start()

    def close(self, timeout: float = 2.0) -> None:
        """Writes what is queued, for at most *timeout* seconds: a stuck stderr does not keep us from ending."""
        logging.getLogger().removeHandler(self._from_logging)
        thread, self._thread = self._thread, None
        if thread is not None:
            with self._changed:
                self._closing = True
                self._changed.notify()
            thread.join(timeout)

    def log(self, level: LogLevel, event: str, fields: Mapping[str, LogValue]) -> None:
        """Logs *event* with *fields* unless *level* is below the configured one. Never blocks once started."""
        if _LEVELS.index(level) >= self._threshold:
            self._put(self._line(level, event, fields))

    def _line(self, level: LogLevel, event: str, fields: Mapping[str, LogValue]) -> bytes:
        told: dict[str, object] = {}
        if not self._journal:
            told["time"] = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
            told["level"] = level
        elif self._json:
            told["level"] = level
        told["msg"] = _plain(event)
        for key, value in fields.items():
            if value is not None:
                told[key] = _plain(value)
                if level == "error" and isinstance(value, BaseException):
                    told[f"{key}_traceback"] = "".join(traceback.format_exception(value))[-MAX_TRACEBACK:]
        text = json.dumps(told) if self._json else " ".join(f"{k}={quote(v)}" for k, v in told.items())
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
            pass  # nobody reads; there is nowhere left to say so


def is_journal(descriptor: int, environ: Mapping[str, str]) -> bool:
    """Whether *descriptor* is the journal's socket: JOURNAL_STREAM names its device and inode (systemd.exec(5))."""
    try:
        status = os.fstat(descriptor)
    except OSError:
        return False
    return environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


def quote(value: object) -> str:
    """*value* as it stands in `key=value`: bare where it is plain, else in quotes with JSON's escapes."""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    if _BARE.fullmatch(text):
        return text
    return '"' + "".join(_escape(c) for c in text) + '"'


def _escape(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    if character.isprintable():
        return character
    return json.dumps(character)[1:-1]


def _plain(value: object) -> object:
    if isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return value  # JSON has no infinity
    if isinstance(value, BaseException):
        text = f"{type(value).__name__}: {value}"
    elif isinstance(value, str | float | Path):
        text = str(value)
    else:  # a caller without a type checker; the value itself may be what must not be logged
        text = f"({type(value).__name__} withheld)"
    return text if len(text) <= MAX_VALUE else text[: MAX_VALUE - 1] + "…"


class _FromLogging(logging.Handler):
    """Events of the standard library's `logging` (asyncio reports lost exceptions there), in our format."""

    def __init__(self, sink: Sink) -> None:
        super().__init__(logging.WARNING)
        self._sink = sink

    def emit(self, record: logging.LogRecord) -> None:
        level: LogLevel = _LEVELS[min(max(record.levelno // 10, 1), 4) - 1]
        error = record.exc_info[1] if record.exc_info else None
        self._sink.log(level, record.getMessage(), {"logger": record.name, "error": error})
