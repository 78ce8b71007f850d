"""The values of keywords of ssh_config(5): each line adds to them, and the first value of a keyword counts."""

from __future__ import annotations

from .forms import TAKEN
from .keywords import FORMER_KEYWORDS, SSH_KEYWORDS
from .line import Line, SshConfigError
from .patterns import match_list
from .splitting import next_word, split_arguments

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final


class Settings:
    """The values so far. `values` has them under the keyword in lower case.

    A flag or choice is its usual name (`"yes"`), a time is in seconds (-1 for none), a count is an int, a forward or
    another thing of several words is a tuple or list of str.
    """

    def __init__(self) -> None:
        self.values: Final[dict[str, Any]] = {}
        self.ignored: Final[list[str]] = []
        """Keywords that were ignored: unknown ones, and those that OpenSSH no longer supports."""

    def put(self, keyword: str, value: Any) -> None:
        """Set what is not set yet."""
        self.values.setdefault(keyword, value)

    def take(self, keyword: str, rest: str, where: str, *, active: bool = True, lenient: bool = False) -> None:
        """Take a line that `keyword_of` has split, or only check it if it is not `active`.

        With `lenient` a keyword that is not known is ignored. Raises SshConfigError, which begins with `where`.
        """
        name = FORMER_KEYWORDS.get(keyword, keyword)
        form = SSH_KEYWORDS.get(name)
        if form is None:
            ignored = self.values.get("ignoreunknown")
            if not lenient and (ignored is None or match_list(keyword, ignored, lower=True) != 1):
                raise SshConfigError(f"{where.replace(' line ', ': line ')}: Bad configuration option: {keyword}")
            self.ignored.append(keyword)
            return
        arguments = split_arguments(rest)
        if arguments is None:
            raise SshConfigError(f"{where}: invalid quotes")
        if form == "unsupported":
            self.ignored.append(keyword)
        if form in ("deprecated", "unsupported"):
            return
        line = Line(self.values, name, arguments, rest, where, active)
        TAKEN[name if form == "special" else form](line)
        if line.arguments:
            raise SshConfigError(f"{where}: keyword {keyword} extra arguments at end of line")


def keyword_of(line: str, where: str) -> tuple[str, str] | None:
    """Return the keyword of a line, in lower case, and the rest of the line; None if it is empty or a comment.

    Raises SshConfigError if nothing follows the keyword.
    """
    text: str | None = line.rstrip(" \t\r\n\f")
    word, text = next_word(text)
    if word == "":
        word, text = next_word(text)
    if not word or word.startswith("#"):
        return None
    keyword = word.lower()
    rest = "" if text is None else text.lstrip(" \t\r\n")
    if not rest:
        raise SshConfigError(f'{where}: no argument after keyword "{keyword}"')
    return keyword, rest
