"""The message that requests an attachment to a run, from the arguments of `Client.attach`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeAlias

from farhand_protocol import messages as m
from farhand_protocol.limits import TERMINAL_WINDOW

from .arguments import as_count, as_instance
from .ids import new_key

Offsets: TypeAlias = "int | tuple[int | None, int | None]"
"""Where the output starts, in bytes: an offset in stdout, with stderr from its beginning; or offsets in (stdout,
stderr), where None leaves that stream out."""


def attach_request(
    run_id: str,
    at: tuple[int | None, int | None],
    *,
    stdin: int | None = None,
    hold: bool = False,
    follow: bool = True,
    read_only: bool = False,
    size: m.WindowSize | None = None,
    share: bool = False,
) -> m.Attach:
    """Return the message that requests an attachment, with a new key. `at` are the offsets in stdout and stderr."""
    return m.Attach(
        id=run_id,
        attachment=new_key(),
        stdout=at[0],
        stderr=at[1],
        stdin=stdin,
        hold=hold,
        follow=follow,
        read_only=read_only,
        window=None if size is None else TERMINAL_WINDOW,
        size=size,
        share=share,
    )


def checked_attach(
    offset: Offsets,
    stdin: bool | int,
    hold: bool | None,
    follow: bool,
    read_only: bool,
    size: m.WindowSize | None,
    share: bool,
) -> Callable[[str], m.Attach]:
    """Return what makes the message for a run's id, from the arguments of `Client.attach`.

    Raises TypeError and ValueError.
    """
    at = stream_offsets(offset)
    feeds = None if stdin is False else 0 if stdin is True else as_count(stdin, "stdin")
    as_instance(size, "size", m.WindowSize)
    if read_only and (feeds is not None or hold):
        raise ValueError("a read-only attachment cannot feed stdin or hold the run")
    if share and (feeds is None or size is None):
        raise ValueError("share is for typing at a terminal: it needs stdin and size")
    return partial(
        attach_request,
        at=at,
        stdin=feeds,
        hold=bool(follow and not read_only if hold is None else hold),
        follow=bool(follow),
        read_only=bool(read_only),
        size=size,
        share=bool(share),
    )


def stream_offsets(offset: Offsets) -> tuple[int | None, int | None]:
    """Return the offsets in stdout and stderr. Raises TypeError and ValueError."""
    if isinstance(offset, tuple):
        if len(offset) != 2:
            raise ValueError(f"offset has {len(offset)} values; it must be one for stdout and one for stderr")
        stdout, stderr = (None if each is None else as_count(each, "offset") for each in offset)
        return stdout, stderr
    return as_count(offset, "offset"), 0


def shown_size(opening: m.RunRequest | m.Attach) -> m.WindowSize | None:
    """Return the size of the terminal that a channel's first message asks to show; None if it shows none."""
    if isinstance(opening, m.Attach):
        return opening.size
    return None if opening.terminal is None else opening.terminal.size
