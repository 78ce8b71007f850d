"""The parser of a command's options, whose help and errors are printed like everything else that `farhand` says."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final, NoReturn

from farhand_client.ui.printing import help_columns, print_output, print_usage
from farhand_client.ui.text import wrap_words
from farhand_protocol.sentences import closest, printable_lines

if TYPE_CHECKING:
    from _typeshed import SupportsWrite


_FORWARDING: Final = "connections are forwarded by farhand forward, run and shell"

_OTHERWISE: Final = {
    "-p": "the port is part of HOST: name:port",
    "-l": "the user is part of HOST: user@name",
    "-L": _FORWARDING,
    "-R": _FORWARDING,
    "-D": _FORWARDING,
    "-A": "the ssh-agent is forwarded by farhand run and shell",
    "-N": "farhand forward runs no command, with or without it",
    "-g": "write *:PORT for a port that is open on all addresses",
    "-J": "hosts on the way are named by --via HOST[,HOST…]",
    "-v": "FARHAND_DEBUG=1 in the environment shows the traceback of an error",
    "-o": "options of ssh are for farhand rsh; hosts are described in config.toml and ~/.ssh/config",
}
"""How to do what an option means to ssh(1), for commands that have no option of that name."""


class CommandParser(argparse.ArgumentParser):
    """An `ArgumentParser` that explains times and sizes, suggests an option for a mistyped one, reports a stdout that
    cannot be written, and escapes what cannot be shown.
    """

    habits: Mapping[str, str] = _OTHERWISE
    """How to do what an option that there is not means elsewhere."""

    def format_help(self) -> str:
        """Return the help, which ends with the forms of the times and sizes that occur in it."""
        from farhand_protocol.quantities import SIZE_FORMS, TIME_FORMS

        text = super().format_help()
        for name, forms in (("TIME", TIME_FORMS), ("SIZE", SIZE_FORMS)):
            if re.search(rf"[ =]{name}\b", text):
                lines = wrap_words(f"{name} is {forms}.", help_columns())
                text += "\n".join(["", *lines, ""])
        return text

    def error(self, message: str) -> NoReturn:
        """Print the usage and the mistake, with a similar option or value for a wrong one, and exit with 2."""
        super().error(self.explained(message))

    def explained(self, message: str) -> str:
        """Return a mistake with a similar option or value for a wrong one."""
        unknown = message.removeprefix("unrecognized arguments: ")
        if unknown != message:
            message += self._option_meant(unknown.partition(" ")[0].partition("=")[0])
        elif (joined := re.search(r": ignored explicit argument '(\w)", message)) and f"-{joined[1]}" in self.habits:
            message = f"unrecognized arguments: -{joined[1]}{self._option_meant('-' + joined[1])}"
        elif surplus := re.search(r"^argument (\S+): ignored explicit argument (.*)$", message, re.DOTALL):
            message = (
                f"{surplus[1]} takes no value, but {surplus[2]} follows it; write each option as a word of its own"
            )
        elif choice := re.search(r"invalid choice: '(.*)' \(choose from (.*)\)$", message):
            message += suggestion(choice[1], re.findall(r"[\w-]+", choice[2]))
        return message

    def _option_meant(self, word: str) -> str:
        # As in ssh -p22, ssh -oPort=22 and rsync -avz.
        otherwise = self.habits.get(word[:2] if re.fullmatch(r"-p\d+|-o\w+|-a\w+", word) else word)
        if otherwise is not None and (self.habits is not _OTHERWISE or "HOST" in (self.usage or "")):
            return f"; {otherwise}"
        # Without the hyphens, which all of them have in common: --keep is not like --help.
        names = {name.lstrip("-"): name for name in known_options(self)}
        close = closest(word.lstrip("-").lower(), names)
        return f"; did you mean {names[close]}?" if close is not None and names[close] != word else ""

    def _print_message(self, message: str, file: SupportsWrite[str] | None = None) -> None:
        # The one method through which argparse prints; it ignores errors itself.
        if file is sys.stdout:
            print_output(message.rstrip("\n"))
        else:
            print_usage(printable_lines(message.rstrip("\n")))


def known_options(parser: argparse.ArgumentParser) -> list[str]:
    """Return the names of the options that the help of `parser` shows."""
    shown = parser.format_help().partition("options:")[2]
    return list(dict.fromkeys(re.findall(r"(?<![^\s,])--?[A-Za-z][\w-]*", shown)))


def suggestion(word: str, known: Iterable[str]) -> str:
    """Return `; did you mean …?` with the word of `known` that is most like `word`; nothing if none is."""
    close = closest(word.lower(), known)
    return f"; did you mean {close}?" if close and close != word else ""
