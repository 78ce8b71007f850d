"""Text that people can read whatever happens: bytes that are not UTF-8, terminals with a small character set, control
characters, commands, mistyped words, errors that nobody has foreseen. Both programs use it; no I/O.

Python holds a byte 0xFF that it cannot decode as the lone surrogate U+DCFF (PEP 383), which no stream accepts. Here it
is shown as `\\xff`, which is what it was.
"""

from __future__ import annotations

import errno

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Final

MAX_SENTENCE: Final = 1000
"""Characters of an unforeseen error: about twelve lines of a terminal. The rest rarely helps."""

ESCAPING: Final = "farhand.escape"
"""The name under which programs register `escape_unencodable` as an error handler (codecs.register_error)."""

_HINTS: Final = {
    errno.EMFILE: "the limit on open files is too low (ulimit -n)",
    errno.ENFILE: "the machine has too many open files",
    errno.EAGAIN: "a limit on processes or memory is too low (ulimit -u, ulimit -v)",
    errno.ENOMEM: "there is not enough memory (ulimit -v)",
    errno.EFBIG: "the limit on the size of files is too low (ulimit -f)",
}
"""What to look at after an error of the operating system that says too little."""


def printable(text: str) -> str:
    """Return `text` with every character escaped that could control a terminal (C0, C1, bidi controls and so on).

    Names, paths and errors that come from another machine could otherwise move the cursor, type answers for the user,
    or go on in a line that looks like ours.
    """
    return (
        text if text.isprintable() else "".join(char if char.isprintable() else _escaped_control(char) for char in text)
    )


def printable_lines(text: str) -> str:
    """Return `text` with each of its lines as `printable` has it, and undecodable bytes in it as `\\xff`."""
    return "\n".join(map(printable, escape_undecodable(text).split("\n")))


def shell_quoted(words: Iterable[str]) -> str:
    """Return `words` quoted for a shell, on one line even if they contain control characters or undecodable bytes."""
    return " ".join(map(_quoted, words))


def counted(number: int, noun: str) -> str:
    """Return `1 run`, `2 runs`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def closest(word: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """Return the one of `known` that was probably meant by `word`; None if none is similar enough (`difflib`)."""
    from difflib import get_close_matches  # only needed after a mistake

    return next(iter(get_close_matches(word, list(known), 1, cutoff)), None)


def escape_undecodable(text: str) -> str:
    """Return `text` with each byte that could not be decoded as `\\xff`, also where `repr` has written `\\udcff`."""
    if "\\udc" in text:
        import re  # takes milliseconds, and is needed for a wrong argument at most

        # An even number of backslashes before it is text that has these characters itself.
        text = re.sub(r"(?<!\\)((?:\\\\)*)\\udc([89a-f][0-9a-f])", r"\1\\x\2", text)
    return escape_surrogates(text)


def escape_surrogates(text: str) -> str:
    """Return `text` with each byte that could not be decoded as `\\xff`, and any other surrogate escaped as well."""
    if text.isascii():
        return text
    return "".join(_escaped(char) if "\ud800" <= char <= "\udfff" else char for char in text)


def escape_unencodable(error: UnicodeError) -> tuple[str, int]:
    """Return what to write instead of characters that a stream cannot encode: an error handler for streams."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(_escaped, error.object[error.start : error.end])), error.end


def unforeseen_sentence(error: BaseException) -> str:
    """Return one sentence about an error that nothing has handled: what is wrong and, where that is known, what to do.

    The caller shows the traceback if somebody asks for it.
    """
    error = _first_cause(error)
    text = " ".join(str(error).split())
    if len(text) > MAX_SENTENCE:
        text = text[: MAX_SENTENCE - 1] + "…"
    match error:
        case MemoryError():
            return "there is not enough memory (ulimit -v)"
        case OSError(errno=int()):
            what = " ".join(str(error.strerror or error).split())
            where = "".join(f"{_named(name)}: " for name in (error.filename, error.filename2) if name is not None)
            return f"{where}{what}" + (f"; {_HINTS[error.errno]}" if error.errno in _HINTS else "")
        case _ if _lacks_thread(error):
            return f"no thread can be started; {_HINTS[errno.EAGAIN]}"
        case ImportError():
            return f"a part of the program cannot be loaded: {text}"
        case RecursionError():
            return "something is nested too deeply to be understood"
    kind = type(error).__name__ + (f": {text}" if text else "")
    return f"unexpected error {kind}; this is a fault in Farhand, FARHAND_DEBUG=1 shows where"


def _first_cause(error: BaseException) -> BaseException:
    """Return the first error of a group or, if a limit of the machine has led to it, the error about that: what fails
    later, while everything is closed, says less."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    limit = error
    each: BaseException | None = error
    while each is not None:
        if isinstance(each, MemoryError) or (isinstance(each, OSError) and each.errno in _HINTS) or _lacks_thread(each):
            limit = each
        each = each.__cause__ or (None if each.__suppress_context__ else each.__context__)
    return limit


def _lacks_thread(error: BaseException) -> bool:
    return isinstance(error, RuntimeError) and "start new thread" in str(error)


def _named(name: str | bytes | int) -> str:
    return name.decode(errors="backslashreplace") if isinstance(name, bytes) else str(name)


def _escaped(char: str) -> str:
    number = ord(char)
    if 0xDC80 <= number <= 0xDCFF:
        return f"\\x{number - 0xDC00:02x}"
    return char.encode("ascii", "backslashreplace").decode("ascii")


def _escaped_control(char: str) -> str:
    return escape_surrogates(char) if "\ud800" <= char <= "\udfff" else char.encode("unicode_escape").decode("ascii")


def _quoted(word: str) -> str:
    if word.isprintable():
        from shlex import quote

        return quote(word)
    return f"$'{''.join(map(_quoted_char, word))}'"


def _quoted_char(char: str) -> str:
    """Return a character in the form that it has inside `$'…'` (bash(1), QUOTING)."""
    if char in "\\'":
        return f"\\{char}"
    if char.isprintable():
        return char
    named = {"\n": r"\n", "\t": r"\t"}.get(char)
    return named or "".join(f"\\{byte:03o}" for byte in char.encode(errors="surrogateescape"))
