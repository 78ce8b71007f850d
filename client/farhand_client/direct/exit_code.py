"""The exit code of a command whose end needs no words."""

from __future__ import annotations

from farhand_client.ui.exitcodes import EXIT_BROKEN_PIPE, EXIT_FAILURE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


def plain_exit_code(
    message: Mapping[str, Any],
    offsets: Mapping[str, int],
    output_closed: bool,
    *,
    as_ssh: bool = False,
    bounds: Mapping[str, Any] | None = None,
) -> int | None:
    """Return the exit code after the run's last message; None if something has to be said about it.

    `offsets` says how much of each stream has arrived. With `output_closed` nobody reads our stdout any more, so that
    the run was stopped. With `as_ssh` it is the one of ssh(1). `bounds` are the limits that were requested.
    """
    if message["type"] != "ended" or message.get("left_processes") is not None:
        return None
    outcome = message["outcome"]
    if bounds and _limits_take_words(bounds, message.get("applied"), outcome):
        return None
    if output_closed:
        return EXIT_BROKEN_PIPE if outcome["status"] in ("exited", "signaled", "killed", "timed_out") else None
    if any(message[name] != offset for name, offset in offsets.items()):
        return None
    if outcome["status"] == "exited":
        return int(outcome["code"])
    if outcome["status"] != "signaled":
        return None
    return EXIT_FAILURE if as_ssh else 128 + int(outcome["signal"])


def _limits_take_words(
    bounds: Mapping[str, Any], applied: Mapping[str, Any] | None, outcome: Mapping[str, Any]
) -> bool:
    """Return whether `ui.limits` may have something to say."""
    if applied is None:
        return False
    return any(applied.get(name) is None for name in bounds) or (
        applied.get("memory") == "rlimit" and outcome.get("code") != 0
    )
