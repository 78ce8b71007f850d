"""What an error says when no key was accepted: which keys were tried, which were not and why, and what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from farhand_protocol.sentences import counted

if TYPE_CHECKING:
    from farhand_client.trust.identities import Identities

MAX_KEYS_SHOWN: Final = 10
"""Keys that an error lists of each kind: enough to find one's own, few enough for a screen."""


def refusal_text(
    name: str,
    user: str,
    tried: list[str],
    identities: Identities,
    *,
    attempts_used_up: bool,
    same_user_here: bool = False,
) -> str:
    """Return the text for a login to the service `name` as `user` that failed with the keys `tried`.

    `attempts_used_up` means that the service allows no more keys on one connection. `same_user_here` means that `user`
    is also the name of the local user, which HOST stands for if it names none: perhaps another account was meant.
    """
    problems = [str(problem) for problem in identities.problems]
    others = _other_keys(identities)
    if not tried:
        return "\n".join([*_nothing_tried(name, user, problems), *others])
    lines = [f"{name} does not accept a login as {user} with any of these keys:", *_list(tried)]
    untried = identities.untried
    if attempts_used_up and untried:
        lines.append(f"It allows {counted(len(tried), 'key')} on one connection; these were not tried:")
        lines += _list(untried)
        lines.append(
            "If one of them is right, name it with -I FILE, or as `identities` in config.toml; "
            "for a key of the agent its .pub file will do"
        )
    lines += [f"  not tried: {problem}" for problem in problems]
    lines += others
    if same_user_here:
        lines.append(f"{user} is the name of your account here; for another one there, write USER@{name}")
    lines.append(f"To accept a public key, run on the service's machine as {user}: farhandd authorize KEYFILE.pub")
    return "\n".join(lines)


def _nothing_tried(name: str, user: str, problems: list[str]) -> list[str]:
    cannot = f"cannot log in to {name} as {user}"
    if not problems:
        hint = "create one with ssh-keygen -t ed25519, or name one with -I FILE"
        return [f"{cannot}: there is no key to try; {hint}"]
    if len(problems) == 1:
        return [f"{cannot}: {problems[0]}"]
    return [f"{cannot}; no key could be used:", *_list(problems)]


def _other_keys(identities: Identities) -> list[str]:
    if not identities.not_named:
        return []
    keys = counted(identities.not_named, "other key")
    return [f"Only the keys named by -I or identities were tried, not the {keys} of the ssh-agent"]


def _list(items: list[str]) -> list[str]:
    more = [f"  … and {len(items) - MAX_KEYS_SHOWN} more"] if len(items) > MAX_KEYS_SHOWN else []
    return [*(f"  {item}" for item in items[:MAX_KEYS_SHOWN]), *more]
