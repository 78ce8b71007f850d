"""Where the policy comes from: a file that only root or the service's account can write, or the default."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from farhand_server.auth.keyfile import KeyFileError, read_key_file
from farhand_server.auth.principal import user_name
from farhand_server.config import ConfigError, PolicySettings

from .model import Policy, Rule, Who
from .patterns import ANYTHING, FURTHER
from .problems import describe

MAX_FILE_SIZE: Final = 1 << 20
"""Bytes; a thousand rules of a kilobyte each."""


class PolicyError(ConfigError):
    """The policy cannot be used; the text has one sentence a line, each naming the file."""


def policy_in_force(settings: PolicySettings) -> Policy:
    """Return the policy that a configuration asks for. Raises `PolicyError`."""
    if settings.file is not None:
        return load_policy(settings.file)
    uid = os.geteuid()
    return default_policy(user_name(uid), uid, settings.environment)


def load_policy(file: Path) -> Policy:
    """Return the policy in a TOML file.

    The file and each directory above it have to belong to root or to the service's account and be writable by nobody
    else, as sshd's StrictModes wants of authorized_keys: whoever can write it can do what they like.
    Raises `PolicyError` for that, for a file that is missing or is not TOML, and for what is no policy.
    """
    try:
        content = read_key_file(file, uid=os.geteuid(), home=Path("/"), max_size=MAX_FILE_SIZE)
    except KeyFileError as error:
        # Its sentence names the path that is at fault, which may be a directory above the file.
        raise PolicyError(f"{file}: the policy is not used: {error}") from None
    if content is None:
        raise PolicyError(
            f"{file}: there is no such file; write a policy, or take policy.file out of the configuration"
        )
    try:
        data = tomllib.loads(content.decode())
    except UnicodeDecodeError as error:
        raise PolicyError(f"{file}: not UTF-8 at byte {error.start}") from None
    except tomllib.TOMLDecodeError as error:
        raise PolicyError(f"{file}: not valid TOML: {error}") from None
    except RecursionError:
        raise PolicyError(f"{file}: not valid TOML: nested too deeply") from None
    try:
        return Policy.model_validate(data)
    except ValidationError as error:
        raise PolicyError("\n".join(describe(error, data, file))) from None


def default_policy(user: str, uid: int, environment: tuple[str, ...]) -> Policy:
    """Return the policy where no file names one, for a service that runs as `user` (`uid`).

    The service's own account may do everything. Root's service runs each run as the user who logged in, so whoever did
    so by key may do as themselves what they could do over SSH. Nobody else may do anything.
    """
    everything = {
        "commands": ((ANYTHING, FURTHER),),
        "shell": True,
        "detach": True,
        "environment": environment,
    }
    rules = [{"name": "own-account", "who": Who(users=(user,)), "others": ("see", "attach", "signal")} | everything]
    if uid == 0:
        rules.append({"name": "login-by-key", "who": Who(keys=(ANYTHING,))} | everything)
    return Policy(rules=tuple(Rule.model_validate(rule) for rule in rules))
