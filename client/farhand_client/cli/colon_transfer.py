"""The options of `:put` and `:get` in the REPL: those of `farhand put` and `get` that are not about the connection."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NoReturn

from farhand_client.repl.transfer_words import TransferWords

from .options import command_parser
from .parser import CommandParser
from .transfer_options import add_transfer_options, parse_transfer, transfer_keywords

_DESCRIPTIONS: Final = {
    "put": "Send files to the active hosts, into the directory of the shell there unless DEST is another.",
    "get": "Fetch files from the active host, into the directory here unless DEST is another.",
}
_PRINTER_OPTIONS: Final = ("verbose", "quiet", "sha256", "dry_run")


class ColonParser(CommandParser):
    """A parser for a line of the REPL, which goes on after a mistake."""

    def error(self, message: str) -> NoReturn:
        """Raise ValueError, whose text is the mistake and what was meant, as a sentence."""
        raise ValueError(f"{self.prog}: {self.explained(message)}")

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        """Raise `HelpPrinted`."""
        raise HelpPrinted


class HelpPrinted(Exception):
    """The line was a request for help, which was printed."""


def parse_colon_transfer(name: str, words: Sequence[str]) -> TransferWords | None:
    """Parse what follows `:put` or `:get`: see `ParseTransfer`."""
    parser = command_parser(name, "SRC… [DEST]", _DESCRIPTIONS[name], program=":", kind=ColonParser)
    add_transfer_options(parser, name)
    try:
        options = parse_transfer(parser, words)
    except HelpPrinted:
        return None
    return TransferWords(
        tuple(options.words), transfer_keywords(options), {each: getattr(options, each) for each in _PRINTER_OPTIONS}
    )
