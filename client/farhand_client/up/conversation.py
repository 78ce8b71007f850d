"""The one ssh process of a `farhand up`, and the requests to the far side.

ssh asks its questions on the terminal itself, as it always does. Its stderr is shown until the far side answers, since
that is where ssh says what it waits for (a touch, a changed key); after that it is kept, to be shown with a failure.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import IO, Any, Final, Self

from farhand_client.errors import ConnectError, FarhandError
from farhand_protocol.sentences import printable, printable_lines

from .bootstrap import first_words, python_missing, remote_command
from .ssh import SshDestination, up_words

MAX_GREETING: Final = 1 << 20
"""Bytes that may be printed there before the first answer: a greeting has some hundred."""

MAX_FAR_ANSWER: Final = 1 << 20
"""Bytes of one answer: a list of names."""

MAX_SHOWN_ERRORS: Final = 64 << 10
"""Bytes of ssh's stderr that are shown while it connects."""

MAX_KEPT_ERRORS: Final = 4 << 10
"""Bytes of stderr that are kept for a failure: the last screen."""

SSH_END_TIMEOUT: Final = 10.0
"""Seconds that ssh has to end once its stdin has ended."""


class UpFailed(FarhandError):
    """A step of `farhand up` failed. The text says where, what, and what to do."""


class FarConversation:
    """The far side of one machine. Use it as a context manager; every failure is a `FarhandError`."""

    def __init__(
        self,
        ssh: str,
        target: SshDestination,
        *,
        system: bool = False,
        python: str | None = None,
    ) -> None:
        self._target = target
        self._python = python
        self._mark = f"farhand-{secrets.token_hex(8)}"
        script, program = first_words(self._mark, system=system, python=python, minor=sys.version_info.minor)
        self._begin = script + program
        words = up_words(ssh, target.text, remote_command(script))
        try:
            self._process = subprocess.Popen(
                words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0
            )
        except OSError as error:
            raise ConnectError(f"cannot run {ssh}: {error.strerror}") from None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._stdin: IO[bytes] = self._process.stdin
        self._stdout: IO[bytes] = self._process.stdout
        self._lines = _lines(self._stdout)
        self._errors = _Errors(self._process.stderr)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the connection. The far side ends with it."""
        with contextlib.suppress(OSError):
            self._stdin.close()
        if error is not None:
            self._process.terminate()
        try:
            self._process.wait(SSH_END_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._errors.finish()
        self._stdout.close()

    def begin(self) -> None:
        """Send the first words. Until the first answer, ssh may ask the user for a passphrase."""
        with contextlib.suppress(BrokenPipeError):  # the answer, or its lack, says why
            self._write(self._begin)

    def ask(self, what: str, files: Sequence[bytes | memoryview] = (), **values: Any) -> dict[str, Any]:
        """Send a request, with the bytes that it announces, and return the answer. Raises `UpFailed` for a failure
        there, and `ConnectError` if the connection ends."""
        request = json.dumps({"do": what, **values}).encode() + b"\n"
        with contextlib.suppress(BrokenPipeError):
            self._write(request)
            for data in files:
                self._write(data)
        answer = self._answer()
        self._errors.keep()
        if "ok" in answer:
            result: dict[str, Any] = answer["ok"]
            return result
        advice = f"; {answer['advice']}" if answer.get("advice") else ""
        raise UpFailed(printable_lines(f"on {self._target.name}: {answer.get('failed')}{advice}"))

    def _write(self, data: bytes | memoryview) -> None:
        left = memoryview(data)
        while left:
            left = left[os.write(self._stdin.fileno(), left) :]

    def _answer(self) -> dict[str, Any]:
        noise: deque[bytes] = deque(maxlen=20)
        size = 0
        for line in self._lines:
            # A greeting need not end with a newline.
            _, mark, rest = line.partition(self._mark.encode() + b" ")
            if mark:
                with contextlib.suppress(ValueError):  # the connection was cut in the middle of it
                    answer: dict[str, Any] = json.loads(rest)
                    return self._checked(answer)
                continue
            noise.append(line)
            size += len(line)
            if size > MAX_GREETING:
                raise ConnectError(f"{self._target.name} prints without end where the answer of farhand up should be")
        raise self._ended(b"".join(noise))

    def _checked(self, answer: dict[str, Any]) -> dict[str, Any]:
        name = self._target.name
        if "no_python" in answer:
            raise UpFailed(f"{name}: {python_missing(answer['no_python'], answer['newest'], self._python)}")
        if "no_root" in answer:
            raise UpFailed(
                f"{name}: sudo asks for a password there; use root@ or an account that needs none, or omit --system"
            )
        return answer

    def _ended(self, noise: bytes) -> FarhandError:
        with contextlib.suppress(OSError):
            self._stdin.close()
        try:
            code = self._process.wait(SSH_END_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        self._errors.finish()
        said = self._errors.kept or noise[-MAX_KEPT_ERRORS:].decode(errors="replace").strip()
        said = f": {printable_lines(said)}" if said else ""
        if code == 255 or code < 0:
            # What ssh has shown already is not repeated.
            return ConnectError(f"ssh to {printable(self._target.text)} has failed{said}")
        return UpFailed(f"on {self._target.name}, sh -c ended with code {code} before farhand up was done{said}")


class _Errors:
    """Reads ssh's stderr in a thread: shows it, and from `keep` on only keeps its end."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._shown = 0
        self._keeping = False
        self._kept = b""
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    @property
    def kept(self) -> str:
        """The last of what was not shown."""
        return self._kept.decode(errors="replace").strip()

    def keep(self) -> None:
        """Show nothing from now on."""
        self._keeping = True

    def finish(self) -> None:
        """Wait for the end of the stream. A process that was left behind might hold it open: then give it up."""
        self._thread.join(1)
        if not self._thread.is_alive():
            self._stream.close()

    def _read(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            while data := os.read(self._stream.fileno(), 1 << 16):
                if self._keeping or self._shown > MAX_SHOWN_ERRORS:
                    self._kept = (self._kept + data)[-MAX_KEPT_ERRORS:]
                    continue
                self._shown += len(data)
                sys.stderr.buffer.write(data)
                sys.stderr.flush()


def _lines(stream: IO[bytes]) -> Iterator[bytes]:
    """Yield the lines of a stream; a very long one in parts."""
    buffer = b""
    with contextlib.suppress(OSError):
        while data := os.read(stream.fileno(), 1 << 16):
            *whole, buffer = (buffer + data).split(b"\n")
            yield from whole
            if len(buffer) > MAX_FAR_ANSWER:
                yield buffer
                buffer = b""
    if buffer:
        yield buffer


def facts_text(facts: Mapping[str, Any]) -> str:
    """Return what was found there, in one line."""
    libc = " ".join(filter(None, facts["libc"]))
    version = ".".join(map(str, facts["python"]))
    return printable(f"{facts['user']} on {facts['host']}, {facts['machine']}, {libc}, Python {version}")
