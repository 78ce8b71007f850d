"""Reads ssh's configuration files as ssh does: sections for hosts (Host, Match), files in files (Include)."""

from __future__ import annotations

import errno
import os
import stat

from farhand_client.directories import home
from farhand_protocol.wildcards import matches_pattern

from .line import SshConfigError
from .matching import Conditions
from .settings import Settings, keyword_of
from .splitting import split_arguments
from .tokens import with_home

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from .matching import MatchedHost

SYSTEM_DIRECTORY: Final = "/etc/ssh"

_SECTIONS: Final = ("host", "match", "include")
_BEFORE_KEYWORD: Final = " \t\r"

MAX_DEPTH_OF_INCLUDES: Final = 16
"""Files that include each other in a row, as in OpenSSH (READCONF_MAX_DEPTH)."""

MAX_CONFIG_SIZE: Final = 1024 * 1024
"""Bytes of a file: ten thousand hosts with three lines each. A larger one is an accident, such as a link to a log."""


class ConfigFiles:
    """What to read: the user's and the system's file, or only `named`, where `none` stands for no file."""

    def __init__(self, named: str | None = None, *, lenient: bool = False) -> None:
        self.named: Final = named
        self.lenient: Final = lenient
        """Whether keywords that are not known are ignored, as where ssh's configuration is only one source of many."""

    def read(self, host: MatchedHost, settings: Settings, *, final: bool) -> None:
        """Add what the files say about `host` to the settings. Raises SshConfigError."""
        reader = _Reader(host, settings, final=final, lenient=self.lenient)
        if self.named is not None:
            if self.named.lower() != "none" and not reader.read(self.named, of_user=True, checked=False):
                raise SshConfigError(f"Can't open user config file {self.named}: {reader.problem}")
            return
        of_user = home()
        if of_user is not None:
            reader.read(f"{of_user}/.ssh/config", of_user=True, checked=True)
        reader.read(f"{SYSTEM_DIRECTORY}/ssh_config", of_user=False, checked=False)


class _Reader:
    def __init__(self, host: MatchedHost, settings: Settings, *, final: bool, lenient: bool) -> None:
        self._host = host
        self._settings = settings
        self._final = final
        self._lenient = lenient
        self._errno: int | None = None
        self.problem = ""
        """Why the last file was not read."""

    def read(self, path: str, *, of_user: bool, checked: bool, active: bool = True, depth: int = 0) -> bool:
        """Read a file; return whether it could be opened. With `checked` nobody else may be able to write it."""
        if depth > MAX_DEPTH_OF_INCLUDES:
            raise SshConfigError("Too many recursive configuration includes")
        try:
            with open(path, "rb") as file:
                status = os.fstat(file.fileno())
                if checked and (
                    status.st_uid not in (0, os.getuid()) or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
                ):
                    raise SshConfigError(f"Bad owner or permissions on {path}")
                data = file.read(MAX_CONFIG_SIZE + 1)
        except OSError as error:
            self.problem, self._errno = os.strerror(error.errno or 0), error.errno
            return False
        if len(data) > MAX_CONFIG_SIZE:
            raise SshConfigError(f"{path} is larger than {MAX_CONFIG_SIZE} bytes")
        self._read_lines(path, os.fsdecode(data).split("\n"), of_user=of_user, parent=active, depth=depth)
        return True

    def _read_lines(self, path: str, lines: list[str], *, of_user: bool, parent: bool, depth: int) -> None:
        active = parent
        problems = []
        for number, line in enumerate(lines, 1):
            if self._lenient and not active and not line.lstrip(_BEFORE_KEYWORD)[:7].lower().startswith(_SECTIONS):
                continue  # for other hosts: also its mistakes
            where = f"{path} line {number}"
            try:
                words = keyword_of(line, where)
                if words is None:
                    continue
                keyword, rest = words
                if keyword == "host":
                    active = self._is_for_host(rest, where, parent)
                elif keyword == "match":
                    active = self._holds(rest, where, parent)
                elif keyword == "include":
                    self._include(rest, where, of_user=of_user, active=active, depth=depth)
                else:
                    self._settings.take(keyword, rest, where, active=active, lenient=self._lenient)
            except BadConfigFile:
                raise
            except SshConfigError as error:
                problems.append(str(error))
        if problems:
            total = f"{path}: terminating, {len(problems)} bad configuration options"
            raise BadConfigFile("\n".join([*problems, total]))

    def _is_for_host(self, rest: str, where: str, parent: bool) -> bool:
        patterns = split_arguments(rest)
        if patterns is None:
            raise SshConfigError(f"{where}: invalid quotes")
        found = named = False
        for pattern in patterns:
            if not pattern:
                raise SshConfigError(f"{where}: keyword host empty argument")
            if not parent:
                return False
            excluded = pattern.startswith("!")
            if matches_pattern(self._host.name, pattern[excluded:]):
                if excluded:
                    return False
                found = True
                named = named or pattern.strip("*") != ""
        self._host.named = self._host.named or named
        return found

    def _holds(self, rest: str, where: str, parent: bool) -> bool:
        if split_arguments(rest) is None:
            raise SshConfigError(f"{where}: invalid quotes")
        try:
            held, left = Conditions(self._host, self._settings, final=self._final, runs=parent).hold(rest)
        except SshConfigError as error:
            raise SshConfigError(f"{error}\n{where}: Bad Match condition") from None
        if left:
            raise SshConfigError(f"{where}: keyword match extra arguments at end of line")
        return held and parent

    def _include(self, rest: str, where: str, *, of_user: bool, active: bool, depth: int) -> None:
        patterns = split_arguments(rest)
        if patterns is None:
            raise SshConfigError(f"{where}: invalid quotes")
        for pattern in patterns:
            if not pattern:
                raise SshConfigError(f"{where}: keyword include empty argument")
            if pattern.startswith("~") and not of_user:
                raise SshConfigError(f"{where}: bad include path {pattern}.")
            if not pattern.startswith(("/", "~")):
                pattern = f"~/.ssh/{pattern}" if of_user else f"{SYSTEM_DIRECTORY}/{pattern}"
            for path in _files(with_home(pattern)):
                opened = self.read(path, of_user=of_user, checked=True, active=active, depth=depth + 1)
                if not opened and self._errno != errno.ENOENT:
                    raise SshConfigError(f"Can't open user config file {path}: {self.problem}")


class BadConfigFile(SshConfigError):
    """A file with mistakes; whatever includes it is not read further."""


def _files(pattern: str) -> list[str]:
    """Return the paths that match a pattern of glob(7), sorted."""
    if not any(character in pattern for character in "*?[\\"):
        return [pattern] if os.path.lexists(pattern) else []
    folder, _, name = pattern.rpartition("/")
    if any(character in folder for character in "*?[\\") or "[" in name or "\\" in name:
        from glob import glob

        return sorted(glob(pattern))
    # What nearly everybody writes, `config.d/*`: without loading `re`.
    try:
        names = os.listdir(folder or "/")
    except OSError:
        return []
    hidden = name.startswith(".")
    return sorted(
        f"{folder}/{found}" for found in names if matches_pattern(found, name) and (hidden or not found.startswith("."))
    )
