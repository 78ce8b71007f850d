"""What the policy needs to know about the machine: files as the user would find them, and a principal's groups and
home.

Looking at files may hang, so the policy does not do it. `decide` is first asked without any files; if it needs them, a
worker of the user answers `question`, and `decide` is asked again with the answers.
"""

from __future__ import annotations

import grp
import os
import pwd

from farhand_server.auth.accounts import Principal
from farhand_server.runs.environment import Home
from farhand_server.worker.messages import LookedUp, LookUp

from .decide import directories_for
from .model import Policy
from .subject import PolicyRequest, Subject


class FilesNeeded(Exception):
    """The decision depends on files."""


class NoFiles:
    """A `Lookup` without files. Its methods raise `FilesNeeded`."""

    def program(self, name: bytes, *, path: bytes, cwd: bytes) -> bytes | None:
        raise FilesNeeded

    def directory(self, path: bytes) -> bytes:
        raise FilesNeeded


class KnownFiles:
    """A `Lookup` in the answer to a `question`. The user's rights have counted: a search by the user would not find a
    program that the user cannot access, and even root may be unable to access a home directory (NFS)."""

    def __init__(self, question: LookUp, answer: LookedUp) -> None:
        """Raises ValueError if these do not belong together."""
        self._program = answer.program or None
        asked = (question.cwd, *question.directories)
        self._directories = dict(reversed(list(zip(asked, answer.directories, strict=True))))

    def program(self, name: bytes, *, path: bytes, cwd: bytes) -> bytes | None:
        return self._program

    def directory(self, path: bytes) -> bytes:
        return self._directories[path]


def question(policy: Policy, subject: Subject, request: PolicyRequest, home: bytes) -> LookUp:
    """Return the question about all files on which a decision can depend. For `home` see `LookUp`."""
    return LookUp(request.argv[0], request.path, request.cwd, home, directories_for(policy, subject))


def group_names(user: str, gid: int) -> frozenset[str]:
    """Return the names of the groups of an account whose primary group is `gid` (getgrouplist(3)).

    Groups without a name are omitted, because no rule could name them.
    """
    names = set()
    for each in os.getgrouplist(user, gid):
        try:
            names.add(grp.getgrgid(each).gr_name)
        except KeyError:
            continue
    return frozenset(names)


def subject_of(principal: Principal, home: Home) -> Subject:
    """Return the subject for a principal. An account without an entry in passwd(5) is in no group."""
    try:
        groups = group_names(principal.user, pwd.getpwuid(principal.uid).pw_gid)
    except KeyError:
        groups = frozenset()
    directory = home.environment.get(b"HOME", b"/")
    return Subject(
        user=principal.user,
        uid=principal.uid,
        groups=groups,
        fingerprint=principal.fingerprint,
        local=principal.how == "peer",
        forced=principal.options.command is not None,
        # With the root directory as home, `~` would match every directory.
        home=b"" if directory == b"/" else directory,
    )
