"""Reads the policy from a file that only root or the service's account can write, or provides the default policy."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from farhand_protocol.sentences import closest
from farhand_server.auth.accounts import user_name
from farhand_server.config import ConfigError, PolicySettings
from farhand_server.config.model import Section, sections
from farhand_server.config.problems import MAX_PROBLEMS, finding_sentence
from farhand_server.worker.keyfile import KeyFileError, read_key_file

from .model import AccountBound, Policy, Rule, Who
from .patterns import ANYTHING, MORE_ARGUMENTS

MAX_POLICY_FILE: Final = 1 << 20
"""Maximum bytes of a policy file: a thousand rules of a kilobyte each."""


class PolicyError(ConfigError):
    """The policy cannot be used. The text has one sentence per line, each naming the file."""


def policy_in_force(settings: PolicySettings) -> Policy:
    """Return the policy that the configuration names, or the default policy. Raises `PolicyError`."""
    if settings.file is not None:
        return load_policy(settings.file)
    uid = os.geteuid()
    return default_policy(user_name(uid), uid, settings.environment)


def load_policy(file: Path) -> Policy:
    """Return the policy in a TOML file.

    The file and each directory above it must belong to root or the service's account and must not be writable by anyone
    else, as sshd's StrictModes requires for authorized_keys, because whoever can write the file can do everything.
    Raises `PolicyError` if that is not so, if the file is missing or not TOML, and if the policy is invalid.
    """
    try:
        content = read_key_file(file, uid=os.geteuid(), home=Path("/"), max_size=MAX_POLICY_FILE)
    except KeyFileError as error:
        # The error names the path that is wrong, which may be a directory above the file.
        raise PolicyError(f"{file}: the policy cannot be used: {error}") from None
    if content is None:
        raise PolicyError(
            f"{file}: the file does not exist; write a policy, or remove policy.file from the configuration"
        )
    try:
        data = tomllib.loads(content.decode())
    except UnicodeDecodeError as error:
        raise PolicyError(f"{file}: not UTF-8 at byte {error.start}") from None
    except ValueError as error:  # TOMLDecodeError, or an integer of thousands of digits
        raise PolicyError(f"{file}: not valid TOML: {error}") from None
    except RecursionError:
        raise PolicyError(f"{file}: not valid TOML: nested too deeply") from None
    try:
        return Policy.model_validate(data)
    except ValidationError as error:
        raise PolicyError("\n".join(policy_problems(error, data, file))) from None


def default_policy(user: str, uid: int, environment: tuple[str, ...]) -> Policy:
    """Return the policy that applies without a policy file, for a service that runs as `user` (`uid`).

    The service's own account may do everything. Root's service executes each run as the user who logged in, so users
    who log in by key may do everything as themselves, as they could over SSH. Nobody else may do anything.
    """
    everything = {
        "commands": ((ANYTHING, MORE_ARGUMENTS),),
        "shell": True,
        "detach": True,
        "leave_processes": True,
        "environment": environment,
    }
    rules = [{"name": "own-account", "who": Who(users=(user,)), "others": ("see", "attach", "signal")} | everything]
    if uid == 0:
        rules.append({"name": "login-by-key", "who": Who(keys=(ANYTHING,))} | everything)
    return Policy(rules=tuple(Rule.model_validate(rule) for rule in rules))


_TABLES: Final[Mapping[str, tuple[str, type[Section]]]] = {"rules": ("rule", Rule), "bounds": ("bound", AccountBound)}
"""The arrays of a policy: what one of their tables is called, and its model."""


def policy_problems(error: ValidationError, data: Mapping[str, Any], file: Path) -> list[str]:
    """Return a sentence for each of pydantic's findings in `error`, at most MAX_PROBLEMS. `data` is the file as it was
    read."""
    found = error.errors(include_url=False)
    lines = []
    for finding in found[:MAX_PROBLEMS]:
        where, model, loc = _rule(finding["loc"], data)
        if finding["type"] == "extra_forbidden":
            text = f"unknown key {_unknown(model, loc)}"
        else:
            text = ": ".join(part for part in (_place(loc), finding_sentence(finding)) if part)
        lines.append(f"{file}: {where}{text}")
    if len(found) > MAX_PROBLEMS:
        lines.append(f"{file}: and {len(found) - MAX_PROBLEMS} more")
    return lines


def _rule(loc: tuple[int | str, ...], data: Mapping[str, Any]) -> tuple[str, type[Section], tuple[int | str, ...]]:
    """Return the prefix for a finding, the model in which it lies, and the rest of its location."""
    key, *rest = loc or ("",)
    if key not in _TABLES or not rest:
        return "", Policy, loc
    what, model = _TABLES[str(key)]
    number = int(rest[0])
    table = data[str(key)][number]
    name = table.get("name") if isinstance(table, dict) else None
    return f"{what} {number + 1}{f' ({name[:64]!a})' if isinstance(name, str) else ''}: ", model, tuple(rest[1:])


def _place(loc: tuple[int | str, ...]) -> str:
    """Return a location such as `who.users, item 2`, with items counted from 1."""
    place = ".".join(part for part in loc if isinstance(part, str))
    return place + "".join(f", item {part + 1}" for part in loc if isinstance(part, int))


def _unknown(model: type[Section], loc: tuple[int | str, ...]) -> str:
    *above, key = (str(part) for part in loc)
    for name in above:
        model = sections(model)[name]
    text = f"{_place(loc)!a}".strip("'")
    near = closest(key, model.model_fields)
    return f"{text}; did you mean '{near}'?" if near else text
