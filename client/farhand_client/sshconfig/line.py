"""A line of ssh's configuration while its arguments are taken, and the values that have one form in many keywords."""

from __future__ import annotations

from farhand_client.errors import AddressError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Final

MAX_SSH_NUMBER: Final = 2**31 - 1
"""The largest number in OpenSSH: an `int`."""

MAX_VALUES_OF: Final = {
    "identityfile": 100,
    "certificatefile": 100,
    "globalknownhostsfile": 32,
    "userknownhostsfile": 32,
    "canonicaldomains": 32,
}
"""How many values OpenSSH takes of each of these keywords (`readconf.h`)."""

MAX_VALUES: Final = 1024
"""Values of other keywords, for which OpenSSH has no number: a hundred times what anybody writes."""

_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_DIGITS: Final = frozenset("0123456789")


class SshConfigError(AddressError):
    """What ssh's configuration or an option of ssh says makes no sense; the text has ssh's own words for it."""


class Line:
    """A line that is being taken: `arguments` are those not taken yet, `rest` is the text after the keyword `name`.

    If it is not `active`, because its section is for other hosts, it is only checked.
    """

    def __init__(
        self, values: dict[str, Any], name: str, arguments: list[str], rest: str, where: str, active: bool
    ) -> None:
        self.values: Final = values
        self.name: Final = name
        self.arguments: Final = arguments
        self.rest: Final = rest
        self.where: Final = where
        self.active: Final = active

    def error(self, text: str) -> SshConfigError:
        """Return an error in this line."""
        return SshConfigError(f"{self.where}: {text}")

    def next(self, missing: str = "missing argument.") -> str:
        """Return the next argument. Raises SshConfigError."""
        if not self.arguments or not self.arguments[0]:
            raise self.error(missing)
        return self.arguments.pop(0)

    def consume(self) -> None:
        """Leave the arguments that are left alone."""
        self.arguments.clear()

    def put(self, value: Any) -> None:
        """Set the value unless there is one."""
        if self.active:
            self.values.setdefault(self.name, value)

    def append(self, value: Any) -> None:
        """Add a value to those of earlier lines. Raises SshConfigError if there are too many."""
        if not self.active:
            return
        found = self.values.setdefault(self.name, [])
        if len(found) >= MAX_VALUES_OF.get(self.name, MAX_VALUES):
            raise self.error(f"too many {self.name} entries.")
        found.append(value)

    def chosen(self, among: Mapping[str, str]) -> str:
        """Return the usual name of the next argument. Raises SshConfigError."""
        text = self.next()
        found = among.get(text.lower())
        if found is None:
            raise self.error(f'unsupported option "{text}".')
        return found

    def time(self, invalid: str = "invalid time value.") -> int:
        """Return the next argument in seconds. Raises SshConfigError."""
        text = self.next("missing time value.")
        if text == "none":
            return -1
        try:
            return time_from(text)
        except ValueError:
            raise self.error(invalid) from None


def time_from(text: str) -> int:
    """Return a time of sshd_config(5), TIME FORMATS, in seconds. Raises ValueError."""
    total = 0
    digits = ""
    for character in text + "s" if text[-1:] in _DIGITS else text:
        if character in _DIGITS:
            digits += character
        elif digits and character.lower() in _UNITS and len(digits) <= 10:
            total += int(digits) * _UNITS[character.lower()]
            digits = ""
        else:
            raise ValueError(text)
    if not text or total > MAX_SSH_NUMBER:
        raise ValueError(text)
    return total
