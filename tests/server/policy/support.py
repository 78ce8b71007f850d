"""A fake file system, and short helper functions for the policy's tests."""

from __future__ import annotations

from collections.abc import Mapping

from farhand_server.policy import Decision, KnownFiles, Policy, PolicyRequest, Rule, Subject, decide, question
from farhand_server.worker.messages import LookedUp

ADA = Subject("ada", 1000, frozenset({"ada", "staff"}), "SHA256:" + "A" * 43, home=b"/home/ada")
EVE = Subject("eve", 1001, frozenset({"eve"}), "SHA256:" + "E" * 43, home=b"/home/eve")

PROGRAMS = (b"/usr/bin/git", b"/usr/bin/ls", b"/bin/busybox", b"/bin/sh", b"/opt/a/bin/tool", b"/opt/a/b/bin/tool")
LINKS = {b"/sbin": b"/usr/bin", b"/srv/now": b"/srv/app", b"/home/ada/out": b"/etc", b"/home/ada/bin": b"/usr/bin"}


class Files:
    """A `Lookup` over given programs and directories that are symbolic links."""

    def __init__(self, programs: tuple[bytes, ...] = PROGRAMS, links: Mapping[bytes, bytes] = LINKS) -> None:
        self.programs = programs
        self.links = links
        self.searches = 0

    def program(self, name: bytes, *, path: bytes, cwd: bytes) -> bytes | None:
        self.searches += 1
        for directory in [b""] if b"/" in name else path.split(b":"):
            above, _, last = b"/".join(
                (b"" if (directory + name).startswith(b"/") else cwd, directory, name)
            ).rpartition(b"/")
            found = self.directory(above).rstrip(b"/") + b"/" + last
            if found in self.programs:
                return found
        return None

    def directory(self, path: bytes) -> bytes:
        real: list[bytes] = []
        for part in path.split(b"/"):
            if part == b"..":
                real = real[:-1]
            elif part not in (b"", b"."):
                real.append(part)
                link = self.links.get(b"/" + b"/".join(real))
                if link is not None:
                    real = link.strip(b"/").split(b"/")
        return b"/" + b"/".join(real)


def rule(name: str = "rule", **keys: object) -> Rule:
    """Return a rule, by default about ada."""
    return Rule.model_validate({"name": name, "who": {"users": ["ada"]}} | keys)


def policy(*rules: Rule) -> Policy:
    return Policy(rules=rules)


def request(*argv: str | bytes, **keys: object) -> PolicyRequest:
    """Return a request for a command, searched in /usr/bin and /bin."""
    encoded = tuple(each.encode() if isinstance(each, str) else each for each in argv)
    return PolicyRequest(**{"argv": encoded, "cwd": b"/home/ada", "path": b"/usr/bin:/bin"} | keys)  # type: ignore[arg-type]  # the tests name them


def ask(asked: PolicyRequest, *rules: Rule, by: Subject = ADA) -> Decision:
    """Return the decision, which must be the same with the answers that a worker gives to the question about all
    files."""
    files = Files()
    about = question(policy(*rules), by, asked, b"")
    program = files.program(about.program, path=about.search, cwd=about.cwd) or b""
    answer = LookedUp(program, tuple(map(files.directory, (about.cwd, *about.directories))))
    decision = decide(policy(*rules), by, asked, files)
    assert decide(policy(*rules), by, asked, KnownFiles(about, answer)) == decision
    return decision


def allows(commands: list[list[str]], *argv: str | bytes, **keys: object) -> bool:
    """Return whether a rule with these commands allows a command."""
    return ask(request(*argv, **keys), rule(commands=commands)).allowed
