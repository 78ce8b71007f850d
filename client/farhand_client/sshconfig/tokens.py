"""Tokens of ssh_config(5) in values: `%h` and the like, `${NAME}`, and `~` at the beginning of a path."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


class TokenError(ValueError):
    """A value has a token that means nothing there. The text says which."""


def with_variables(text: str) -> str:
    """Return `text` with each `${NAME}` replaced by the variable. Raises TokenError if there is none."""
    return with_tokens(text, None, variables=True)


def with_tokens(text: str, tokens: Mapping[str, str] | None, *, variables: bool = False) -> str:
    """Return `text` with `%X` replaced by what `tokens` has for X, and with `variables` each `${NAME}`, too.

    Without `tokens` a percent sign is left alone. Raises TokenError.
    """
    if "%" not in text and "${" not in text:
        return text
    parts = []
    at = 0
    while at < len(text):
        if variables and text.startswith("${", at):
            end = text.find("}", at)
            if end < 0:
                raise TokenError(f"${{ without }} in {text}")
            name = text[at + 2 : end]
            value = os.environ.get(name) if name else None
            if value is None:
                raise TokenError(f"the variable {name} in {text} is not set")
            parts.append(value)
            at = end + 1
        elif tokens is not None and text[at] == "%":
            token = text[at + 1 : at + 2]
            if token != "%" and token not in tokens:  # nosec B105
                raise TokenError(f"%{token} in {text} means nothing there")
            parts.append("%" if token == "%" else tokens[token])  # nosec B105
            at += 2
        else:
            parts.append(text[at])
            at += 1
    return "".join(parts)


def with_home(path: str) -> str:
    """Return a path with a leading `~` or `~NAME` expanded. Raises TokenError.

    As everywhere in Farhand, HOME says where the home is, and passwd(5) only without it; ssh never looks at HOME.
    """
    if not path.startswith("~"):
        return path
    name, _, rest = path[1:].partition("/")
    found = os.path.expanduser(f"~{name}")
    if found.startswith("~"):
        raise TokenError(f"the ~ in {path} stands for no directory")
    return f"{found.rstrip('/')}/{rest.lstrip('/')}"


def local_user() -> str:
    """Return the name of the user of this process, its number if passwd(5) does not know it."""
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def connection_tokens(*, host: str, original: str, port: str, user: str, alias: str, jump: str = "") -> dict[str, str]:
    """Return what the tokens mean for a connection to `host`, which was given as `original`."""
    # uname(2) has the name that gethostname(2) returns; socket takes longer to import.
    here = os.uname().nodename
    from hashlib import sha1

    digest = sha1(f"{here}{host}{port}{user}{jump}".encode(errors="surrogateescape"), usedforsecurity=False)
    return {
        "C": digest.hexdigest(),
        "L": here.partition(".")[0],
        "T": "NONE",
        "d": os.path.expanduser("~"),
        "h": host,
        "i": str(os.getuid()),
        "j": jump,
        "k": alias,
        "l": here,
        "n": original,
        "p": port,
        "r": user,
        "u": local_user(),
    }
