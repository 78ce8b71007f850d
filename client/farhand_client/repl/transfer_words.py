"""What is typed after `:put` and `:get`, once it is parsed. The command line's own parser does that."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias


class TransferWords(NamedTuple):
    """SRC… and DEST, the keywords of `Client.put` or `get`, and those of `TransferPrinter`."""

    words: tuple[str, ...]
    keywords: Mapping[str, Any]
    shown: Mapping[str, Any]


ParseTransfer: TypeAlias = Callable[[str, Sequence[str]], TransferWords | None]
"""Parses what follows `:put` or `:get`. Returns None if it was a request for help, which it has printed. Raises
ValueError for a mistake."""
