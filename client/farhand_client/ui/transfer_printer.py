"""Tells the user what a transfer does: failures at once, with `-v` each file, a summary at the end; or all as JSON."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Final

from farhand_files.events import Begun, Event, Finished, Found, FoundAll, Moved, Placed, Removed, Skipped, Trouble
from farhand_files.wire import ATTRIBUTES, DIRECTORY, HARDLINK, NEW, REGULAR, REPLACED, SYMLINK
from farhand_protocol.sentences import counted, printable
from farhand_protocol.values import bytes_to_json

from .exitcodes import EXIT_INCOMPLETE
from .printing import print_bytes, print_json, print_message
from .text import format_bytes, format_time

if TYPE_CHECKING:
    from farhand_client.transferred import Transferred

    from .outages import ShowNotice
    from .transfer_bars import TransferBars

MAX_FAILURES: Final = 20
"""Failed files that are named: one screen. The same cause has often led to all of them."""

_KINDS: Final = {REGULAR: "file", DIRECTORY: "directory", SYMLINK: "symlink", HARDLINK: "hardlink"}

_CHANGES: Final = {NEW: "new", REPLACED: "replaced", ATTRIBUTES: "attributes"}

_EVENTS: Final = {
    Found: "found",
    FoundAll: "found_all",
    Begun: "begun",
    Moved: "moved",
    Finished: "finished",
    Skipped: "skipped",
    Trouble: "failed",
    Removed: "deleted",
    Placed: "placed",
}
"""The names of the events in JSON."""


def has_progress() -> bool:
    """Return whether progress can be shown: both stdout and stderr are terminals that can move the cursor."""
    return os.isatty(1) and os.isatty(2) and os.environ.get("TERM", "dumb") not in ("", "dumb")


class TransferPrinter:
    """Shows a transfer with the service that the user calls `host`: call `note` with each event, `finish` at the end.

    `destination` is the path there to which something is put. `digests` is the descriptor to which the lines of
    `verbose` and `sha256` are written: not stdout if a file is.
    """

    def __init__(
        self,
        host: str,
        *,
        destination: bytes | None = None,
        verbose: bool = False,
        quiet: bool = False,
        sha256: bool = False,
        dry_run: bool = False,
        digests: int = 1,
    ) -> None:
        self._host = host
        self._destination = destination
        self._verbose = verbose
        self._quiet = quiet
        self._sha256 = sha256
        self._dry_run = dry_run
        self._digests = digests
        self._bars: TransferBars | None = None
        self._failures = self._notices = 0

    @contextlib.contextmanager
    def shown(self, through: Callable[[ShowNotice], AbstractContextManager[None]]) -> Iterator[None]:
        """Show progress inside the block, if there is a terminal for it.

        `through` returns a context in which messages about the connection are shown as its argument says.
        """
        if self._quiet or self._digests != 1 or not has_progress():
            yield
            return
        from .transfer_bars import TransferBars

        with TransferBars(sys.stderr) as bars:

            def show(notice: str | None) -> None:
                bars.show_notice(f"connected to {self._host} again" if notice is None else notice)

            self._bars = bars
            with through(show):
                yield

    @property
    def wanted(self) -> tuple[type[Event], ...]:
        """The kinds of events for which `note` does anything; none if it does for all."""
        if self._bars is not None:
            return ()
        if self._verbose or self._sha256 or self._dry_run:
            return (Trouble, Finished, Removed, Placed)
        return (Trouble,)

    def note(self, event: Event) -> None:
        """Take one event. Raises as `print_output` does."""
        if self._bars is not None:
            self._bars.note(event)
        match event:
            case Trouble(errno=0):
                self._notices += 1
                if self._notices <= MAX_FAILURES and not self._quiet:
                    self._write(lambda: print_message(failure_sentence(event, self._host, self._destination)))
            case Trouble(remote=False) if self._digests != 1:
                if event.errno == errno.EPIPE:
                    raise BrokenPipeError(errno.EPIPE, event.sentence)  # as for any other output
                self._fail(f"stdout: {event.sentence}")
            case Trouble():
                self._fail(failure_sentence(event, self._host, self._destination))
            case Finished() if self._dry_run:
                self._write_name(b"would get " if self._destination is None else b"would send ", event.path)
            case Removed() if self._dry_run:
                self._write_name(b"would delete ", event.path)
            case Finished() if self._verbose or self._sha256:
                self._write(lambda: print_bytes(self._digest_lines(event), self._digests))
            case Removed() if self._verbose:
                self._write_name(b"deleted ", event.path)
            case Placed() if self._verbose or self._dry_run:
                self._write_name(*placed_words(event, dry_run=self._dry_run))

    def finish(self, transferred: Transferred) -> int:
        """Print a summary if anybody wants it, and return the exit code."""
        failed = max(transferred.failed, self._failures)
        if self._notices > MAX_FAILURES and not self._quiet:
            print_message(f"… and {self._notices - MAX_FAILURES} more of which nothing has failed")
        if self._failures > MAX_FAILURES:
            print_message(f"… and {self._failures - MAX_FAILURES} more")
        if not self._quiet and (self._verbose or has_progress()):
            print_message(f"{'dry run: ' if self._dry_run else ''}{summary(transferred)}")
        elif failed:
            print_message(f"{counted(failed, 'file')} failed")
        return EXIT_INCOMPLETE if failed else 0

    def _fail(self, sentence: str) -> None:
        self._failures += 1
        if self._failures <= MAX_FAILURES:
            self._write(lambda: print_message(sentence))

    def _write(self, write: Callable[[], None]) -> None:
        if self._bars is None:
            write()
        else:
            self._bars.write_above(write)

    def _write_name(self, before: bytes, path: bytes, after: bytes = b"") -> None:
        self._write(lambda: print_bytes(before + self._shown(path) + after + b"\n", self._digests))

    def _digest_lines(self, event: Finished) -> bytes:
        name, escaped = checksum_name(event.path)
        name = self._shown(name)
        lines = b""
        if self._verbose:
            lines += b"BLAKE3 " + event.blake3.hex().encode() + b"  " + name + b"\n"
        if self._sha256:
            lines += escaped + event.sha256.hex().encode() + b"  " + name + b"\n"
        return lines

    def _shown(self, path: bytes) -> bytes:
        return printable(os.fsdecode(path)).encode() if os.isatty(self._digests) else path


class JsonPrinter:
    """Prints each event as a line of JSON on stdout; with `dry_run`, says with each what would be done."""

    def __init__(self, *, dry_run: bool = False) -> None:
        self._dry_run = dry_run

    @contextlib.contextmanager
    def shown(self, through: Callable[[ShowNotice], AbstractContextManager[None]]) -> Iterator[None]:
        """Do nothing: there is no progress to be shown."""
        yield

    def note(self, event: Event) -> None:
        """Print one event. Raises as `print_output` does."""
        print_json(event_report(event, dry_run=self._dry_run))

    def finish(self, transferred: Transferred) -> int:
        """Print what was done, and return the exit code."""
        print_json(transferred_report(transferred, dry_run=self._dry_run))
        return EXIT_INCOMPLETE if transferred.failed or transferred.errors else 0


def event_report(event: Event, *, dry_run: bool = False) -> dict[str, Any]:
    """Return an event as a JSON object. Paths that are not UTF-8 are `{"base64": …}`."""
    values: dict[str, Any] = {"event": _EVENTS[type(event)], **event._asdict()}
    if isinstance(event, Trouble) and not event.errno:
        values["event"] = "notice"
    for name in ("path", "source"):
        if name in values:
            values[name] = bytes_to_json(values[name])
    if values.get("source") == "":
        values["source"] = None
    if "kind" in values:
        values["kind"] = _KINDS[values["kind"]]
    if "change" in values:
        values["change"] = _CHANGES[values["change"]]
    if values.get("size", 0) < 0:
        values["size"] = None
    if isinstance(event, Finished):
        digest = None if dry_run else event.blake3.hex()
        values |= {"blake3": digest, "sha256": event.sha256.hex() or None}
    if dry_run and isinstance(event, Finished | Placed | Removed):
        values["dry_run"] = True
    return values


def transferred_report(transferred: Transferred, *, dry_run: bool = False) -> dict[str, Any]:
    """Return what a transfer has done as a JSON object."""
    names = ("files", "bytes", "sent", "kept", "skipped", "others", "deleted", "failed", "seconds")
    told = {"event": "done", **{name: getattr(transferred, name) for name in names}}
    return told | {"dry_run": True} if dry_run else told


def summary(transferred: Transferred) -> str:
    """Return what a transfer has done in one line."""
    seconds = transferred.seconds
    text = f"{counted(transferred.files, 'file')}, {format_bytes(transferred.bytes)}"
    if transferred.kept:
        text += f" ({format_bytes(transferred.kept)} were there, {format_bytes(transferred.sent)} sent)"
    if transferred.others:
        text += f", {transferred.others} director{'y or link' if transferred.others == 1 else 'ies and links'}"
    text += f", {transferred.skipped} up to date" if transferred.skipped else ""
    text += f", {transferred.deleted} deleted" if transferred.deleted else ""
    text += f", {transferred.failed} failed in {format_time(seconds)}"
    return f"{text}, {format_bytes(transferred.sent / seconds)}/s" if seconds and transferred.sent else text


def placed_words(placed: Placed, *, dry_run: bool) -> tuple[bytes, bytes, bytes]:
    """Return what is written about a directory or link, or about new attributes: before the path, the path, after it.

    A directory ends with a slash, and the destination itself is a dot.
    """
    path = (placed.path or b".") + (b"/" if placed.kind == DIRECTORY else b"")
    if placed.change == ATTRIBUTES:
        return (b"would set" if dry_run else b"set") + b" mode and time of ", path, b""
    if placed.change == REPLACED:
        by = {DIRECTORY: b"directory", HARDLINK: b"hard link"}.get(placed.kind, b"symbolic link")
        return (b"would replace " if dry_run else b"replaced "), placed.path, b" by a " + by
    if placed.kind == DIRECTORY:
        return (b"would make " if dry_run else b"made "), path, b""
    return (b"would link " if dry_run else b"linked "), path, b""


def failure_sentence(trouble: Trouble, host: str, destination: bytes | None = None) -> str:
    """Return what has failed, with the path as the user would write it.

    Of what is put, the other side names the path to which it is sent; whether `destination` is above that, or is
    replaced by it, is not known here.
    """
    where, path = "", trouble.path
    if trouble.remote:
        where = f"{host}:"
        if destination is not None and not path.startswith((b"/", destination)):
            where += printable(os.fsdecode(destination))
            if b"/" in path or destination.endswith(b"/"):  # then it is surely below the destination
                where = where.rstrip("/") + "/"
            elif path:
                where += ": "
    sentence = trouble.sentence
    if sentence[1:2].islower():  # a text of the C library, unlike EIO's
        sentence = sentence[:1].lower() + sentence[1:]
    return f"{where}{printable(os.fsdecode(path))}: {sentence}"


def checksum_name(path: bytes) -> tuple[bytes, bytes]:
    """Return a path as sha256sum(1) writes it, and what it writes at the beginning of the line."""
    if b"\\" in path or b"\n" in path or b"\r" in path:
        path = path.replace(b"\\", b"\\\\").replace(b"\n", b"\\n").replace(b"\r", b"\\r")
        return path, b"\\"
    return path, b""
