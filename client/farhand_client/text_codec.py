"""How `Client.run` converts between the bytes of a run and str: `text`, `encoding`, `errors`, `universal_newlines`."""

from __future__ import annotations

import codecs
import io
from typing import NamedTuple

from .arguments import shortened


class TextCodec(NamedTuple):
    """An encoding, how its errors are handled (`codecs.register_error`), and whether newlines are translated."""

    encoding: str
    errors: str
    newlines: bool

    @classmethod
    def of(
        cls, text: bool | None, encoding: str | None, errors: str | None, universal_newlines: bool | None
    ) -> TextCodec | None:
        """Return the codec that these arguments of `subprocess.run` ask for; None for bytes.

        As there, each of them asks for text, and the two synonyms must agree. Raises ValueError and TypeError.
        """
        if text is not None and universal_newlines is not None and bool(text) != bool(universal_newlines):
            raise ValueError("text and universal_newlines contradict each other; one of them is enough")
        for name, value in (("encoding", encoding), ("errors", errors)):
            if value is not None and not isinstance(value, str):
                raise TypeError(f"{name} is {type(value).__name__}; it must be str")
        if not (text or encoding or errors or universal_newlines):
            return None
        codec = cls(encoding or "utf-8", errors or "strict", bool(universal_newlines))
        codec._check()
        return codec

    def encode(self, text: str) -> bytes:
        """Return `text` as bytes. Raises UnicodeEncodeError."""
        return text.encode(self.encoding, self.errors)

    def decode(self, data: bytes, *, truncated: bool) -> str:
        """Return output as str. Raises UnicodeDecodeError, but not for a last character that was cut by truncation."""
        if truncated:
            text = codecs.getincrementaldecoder(self.encoding)(self.errors).decode(data, final=False)
        else:
            text = data.decode(self.encoding, self.errors)
        return text.replace("\r\n", "\n").replace("\r", "\n") if self.newlines else text

    def _check(self) -> None:
        # Before the command runs: afterwards its output would be lost.
        try:
            io.TextIOWrapper(io.BytesIO(), encoding=self.encoding)
        except (LookupError, ValueError):  # ValueError: a NUL
            raise ValueError(
                f"encoding is {shortened(self.encoding)}, which is not a text encoding of Python"
            ) from None
        try:
            codecs.lookup_error(self.errors)
        except (LookupError, ValueError):
            raise ValueError(
                f"errors is {shortened(self.errors)}; it must be strict, replace, … (codecs.register_error)"
            ) from None
