"""The message that requests an attachment."""

from __future__ import annotations

from typing import Any

import pytest

from farhand_client.attach_request import attach_request, checked_attach, shown_size, stream_offsets
from farhand_protocol import messages as m

RUN_ID = "01890a5d-ac96-774b-bcce-b302099a8057"


def checked(**changes: Any) -> m.Attach:
    arguments = {"offset": 0, "stdin": False, "hold": None, "follow": True, "read_only": False, "size": None}
    return checked_attach(**{**arguments, "share": False, **changes})(RUN_ID)


def test_offsets_are_those_of_stdout_or_of_both_streams() -> None:
    assert stream_offsets(7) == (7, 0)
    assert stream_offsets((None, 3)) == (None, 3)
    for negative in (-1, (0, -1)):
        with pytest.raises(ValueError, match="it must be 0 or more"):
            stream_offsets(negative)


def test_every_attachment_has_a_key_of_its_own() -> None:
    one, two = (attach_request("01890a5d-ac96-774b-bcce-b302099a8057", (1, None), stdin=2) for _ in range(2))
    assert (one.stdout, one.stderr, one.stdin, one.window) == (1, None, 2, None)
    assert one.attachment != two.attachment


@pytest.mark.parametrize(
    ("changes", "hold"),
    [({}, True), ({"read_only": True}, False), ({"follow": False}, False), ({"hold": False}, False)],
)
def test_an_attachment_that_follows_and_may_type_holds_the_run(changes: dict[str, Any], hold: bool) -> None:
    assert checked(**changes).hold is hold


def test_stdin_is_fed_from_its_beginning_or_from_an_offset() -> None:
    assert [checked(stdin=stdin).stdin for stdin in (False, True, 7)] == [None, 0, 7]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"read_only": True, "stdin": True}, "read-only attachment cannot feed stdin"),
        ({"read_only": True, "hold": True}, "or hold the run"),
        ({"share": True}, "needs stdin and size"),
        ({"offset": (1, 2, 3)}, "offset has 3 values"),
    ],
)
def test_arguments_that_contradict_each_other_are_refused(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        checked(**changes)


def test_the_size_to_show_is_that_of_the_attachment_or_of_the_requested_terminal() -> None:
    size = m.WindowSize(columns=80, rows=24)
    run, terminal = m.RunRequest(id=RUN_ID, argv=(b"true",)), m.TerminalRequest(name="xterm", size=size)
    assert shown_size(m.Attach(id=RUN_ID)) is None
    assert shown_size(m.Attach(id=RUN_ID, size=size)) == size
    assert shown_size(run) is None
    assert shown_size(run.model_copy(update={"terminal": terminal})) == size
