"""Two requests are the same request if and only if their fields are equal, except those about the attachment."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from farhand_protocol import messages as m
from farhand_protocol.limits import MIN_SPOOL_SIZE, MIN_WINDOW, Limits
from farhand_protocol.messages.run import JOINED, request_fingerprint
from farhand_protocol.values import MAX_PATHS, MAX_PURPOSE
from tests.support.pairs import RUN_ID, SIZE, TERMINAL, run, terminal_run

READ = m.TransferRequest(access="read", paths=(b"/var/log/*.gz", b"\xe9"))
TUNNEL = m.ForwardRequest(purpose="-L 8080:db:5432")

# Few values for each field, so that two requests drawn from them are often the same.
arguments = st.sampled_from([b"", b"a", b"b", b"ab", b"\xe9", b'",["'])
grace = st.none() | st.sampled_from([0.0, -0.0, 1, 1.5])
bounds = st.builds(
    m.Bounds,
    memory=st.none() | st.sampled_from([1, 1 << 62]),
    cpu=st.none() | st.sampled_from([0.1, 1]),
    output=st.none() | st.just(0),
)
commands = st.lists(arguments, min_size=1, max_size=2).map(lambda argv: {"argv": tuple(argv)}) | arguments.map(
    lambda text: {"shell": text}
)
names = st.sampled_from([b"A", b"B"])
others = st.fixed_dictionaries(
    {},
    optional={
        "attachment": st.none() | st.sampled_from([bytes(16), bytes(15) + b"\1"]),
        "cwd": st.none() | arguments,
        "env": st.dictionaries(names, arguments, max_size=2).map(lambda names: tuple(names.items())),
        "stdin": st.booleans(),
        "merge_stderr": st.booleans(),
        "timeout": st.none() | st.sampled_from([0.5, 60, 60.0]),
        "idle_timeout": st.none() | st.sampled_from([0.5, 60.0]),
        "kill_after": grace,
        "on_disconnect": st.sampled_from(["kill", "keep"]),
        "grace": grace,
        "bounds": st.none() | bounds,
        "spool": st.none() | st.sampled_from([MIN_SPOOL_SIZE, MIN_SPOOL_SIZE + 1]),
        "window": st.none() | st.sampled_from([MIN_WINDOW, MIN_WINDOW + 1]),
        "record_input": st.booleans(),
    },
)
terminals = st.builds(
    m.TerminalRequest,
    name=st.sampled_from(["xterm", "dumb"]),
    size=st.builds(m.WindowSize, columns=st.sampled_from([0, 80]), rows=st.just(24)),
    modes=st.sampled_from([(), (("ECHO", 0),), (("ECHO", 1),), (("ECHO", 0), ("VEOF", 4)), (("VEOF", 4), ("ECHO", 0))]),
)
no_terminal: dict[str, object] = {}
on_terminals = st.just(no_terminal) | terminals.map(
    lambda found: {"terminal": found, "stdin": True, "merge_stderr": True}
)
requests = st.builds(
    lambda command, rest, terminal: m.RunRequest.model_validate({"id": RUN_ID} | command | rest | terminal),
    command=commands | st.just({"login": True}),
    rest=others,
    terminal=on_terminals,
) | st.builds(
    lambda access, paths, keep: run(argv=None, transfer={"access": access, "paths": paths}, on_disconnect=keep),
    access=st.sampled_from(["read", "write"]),
    paths=st.sampled_from([(b"a",), (b"\xe9",)]),
    keep=st.sampled_from(["kill", "keep"]),
)


def _significant_fields(request: m.RunRequest) -> dict[str, object]:
    return request.model_dump(exclude={"attachment", "window"})


@given(requests, requests)
@example(run(env=((b"A", b""), (b"B", b""))), run(env=((b"B", b""), (b"A", b""))))
@example(run(kill_after=0.0), run(kill_after=-0.0))
@example(run(bounds=m.Bounds()), run(bounds=None))
@example(run(attachment=bytes(16)), run())
@example(run(attachment=bytes(16)), run(attachment=b"another client's"))
@example(run(grace=None), run(grace=0.0))
@example(run(window=MIN_WINDOW), run())
@example(terminal_run(), run(merge_stderr=True))
@example(terminal_run(), terminal_run(terminal=m.TerminalRequest(name="dumb", size=SIZE)))
def test_fingerprints_are_equal_if_and_only_if_the_requests_are(one: m.RunRequest, other: m.RunRequest) -> None:
    assert (request_fingerprint(one) == request_fingerprint(other)) == (
        _significant_fields(one) == _significant_fields(other)
    )


@given(requests)
def test_a_request_has_the_same_fingerprint_after_decoding(request: m.RunRequest) -> None:
    received = m.decode(m.encode(request), Limits())
    assert isinstance(received, m.RunRequest)
    assert request_fingerprint(received) == request_fingerprint(request)


def test_every_field_of_the_run_and_none_of_the_channel_counts() -> None:
    plain = m.RunRequest(id=RUN_ID, argv=(b"cat",))
    others: dict[str, object] = {
        "id": RUN_ID.replace("0192", "0193"),
        "argv": (b"cat", b""),
        "shell": b"cat",
        "prelude": b"cat",
        "cwd": b"",
        "env": ((b"A", b""),),
        "stdin": True,
        "merge_stderr": True,
        "timeout": 1,
        "idle_timeout": 1,
        "kill_after": 0,
        "on_disconnect": "keep",
        "grace": 0,
        "bounds": m.Bounds(),
        "spool": MIN_SPOOL_SIZE,
        "login": True,
        "record_input": True,
        "leave_processes": True,
        "ssh_variables": True,
        "internal": True,
        "terminal": TERMINAL,
        "transfer": READ,
        "forward": TUNNEL,
    }
    of_the_channel: dict[str, object] = {"attachment": bytes(16), "window": MIN_WINDOW}
    assert set(others) | set(of_the_channel) == set(m.RunRequest.model_fields) - {"type"}
    prints = {request_fingerprint(plain)}
    for field, value in others.items():
        command: dict[str, object] = {"argv": (b"cat",)}
        if field in {"shell", "login", "prelude", "transfer", "forward"}:
            command = {"shell": b"dog"} if field == "prelude" else {}
        fields = {"id": RUN_ID, **command, field: value}
        needed: dict[str, object] = {"stdin": True} if field in {"transfer", "forward"} else {}
        if field == "terminal":
            needed = {"stdin": True, "merge_stderr": True}
        prints.add(request_fingerprint(m.RunRequest.model_validate(fields | needed)))
    assert len(prints) == len(others) + 1
    assert request_fingerprint(plain.model_copy(update=of_the_channel)) == request_fingerprint(plain)


def test_the_arguments_are_one_text_as_the_kernel_shows_them() -> None:
    argv = (b"echo", *(b"%d" % number for number in range(3 * JOINED)), b"")
    request = run(argv=argv)
    assert request.command_line == b"".join(argument + b"\0" for argument in argv)
    assert request.model_copy(update={"argv": (b"x", b"")}).command_line == b"x\0\0"
    assert run(argv=None, shell=b"x").command_line == b""


def test_the_fingerprint_never_changes() -> None:
    """Histories store it: if a new version computed another one, every retry across the upgrade would be a conflict."""
    request = run(argv=(b"grep", b"caf\xe9"), env=((b"LANG", b"C"),), timeout=60, bounds=m.Bounds(memory=1 << 20))
    assert request_fingerprint(request).hex() == "071407fadc6920fe8728b35ce7dab0fb9da763a8f461e53036330fe20f89a25f"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"argv": None}, "exactly one of argv, shell, login, transfer and forward"),
        ({"shell": b"x"}, "exactly one of argv, shell, login, transfer and forward"),
        ({"transfer": READ}, "exactly one of argv, shell, login, transfer and forward"),
        ({"prelude": b"x"}, "a prelude needs the text in shell"),
        ({"terminal": TERMINAL}, "a terminal has stdin, and stderr merged"),
        ({"env": ((b"A", b"1"), (b"A", b"2"))}, "occurs twice in env"),
    ],
)
def test_a_request_that_contradicts_itself_is_refused(changes: dict[str, object], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        run(**changes)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"stdin": False}, "a transfer needs stdin"),
        ({"merge_stderr": True}, "a transfer has no merge_stderr"),
        ({"cwd": b""}, "a transfer has no cwd"),
        ({"env": ((b"A", b"1"),)}, "a transfer has no env"),
        ({"prelude": b"x"}, "a prelude needs|a transfer has no prelude"),
        ({"idle_timeout": 1}, "a transfer has no idle_timeout"),
        ({"bounds": m.Bounds()}, "a transfer has no bounds"),
        ({"spool": MIN_SPOOL_SIZE}, "a transfer has no spool"),
        ({"terminal": TERMINAL}, "a transfer has no terminal"),
        ({"record_input": True}, "a transfer has no record_input"),
        ({"leave_processes": True}, "a transfer has no leave_processes"),
    ],
)
def test_a_transfer_has_nothing_that_is_about_programs(changes: dict[str, object], reason: str) -> None:
    assert run(argv=None, transfer=READ, timeout=60, grace=0, on_disconnect="keep", internal=True).transfer == READ
    with pytest.raises(ValueError, match=reason):
        run(**{"argv": None, "transfer": READ} | changes)


@pytest.mark.parametrize("field", ["merge_stderr", "cwd", "env", "idle_timeout", "bounds", "spool", "record_input"])
def test_a_tunnel_has_nothing_that_is_about_programs(field: str) -> None:
    values = {"cwd": b"", "env": ((b"A", b"1"),), "idle_timeout": 1, "bounds": m.Bounds(), "spool": MIN_SPOOL_SIZE}
    assert run(argv=None, forward=TUNNEL, timeout=60, grace=0, on_disconnect="keep").forward == TUNNEL
    with pytest.raises(ValueError, match=f"a forward has no {field}"):
        run(argv=None, forward=TUNNEL, **{field: values.get(field, True)})
    with pytest.raises(ValueError, match="a forward needs stdin"):
        run(argv=None, forward=TUNNEL, stdin=False)


@pytest.mark.parametrize("purpose", ["x" * (MAX_PURPOSE + 1), "a\nb", "a\0", "\x1b[1m", "\u202e", "\ud800"])
def test_the_purpose_of_a_tunnel_is_short_and_safe_to_show(purpose: str) -> None:
    assert m.ForwardRequest(purpose="ü" * MAX_PURPOSE).purpose == "ü" * MAX_PURPOSE
    with pytest.raises(ValueError, match=r"purpose|at most|unicode"):
        m.ForwardRequest(purpose=purpose)


@pytest.mark.parametrize(
    ("access", "paths"),
    [
        ("read", ()),
        ("read", (b"a",) * (MAX_PATHS + 1)),
        ("read", (b"a", b"")),
        ("read", (b"a\0",)),
        ("write", (b"a", b"b")),
        ("write", ()),
        ("delete", (b"a",)),
    ],
)
def test_a_transfer_reads_a_bounded_number_of_paths_or_writes_to_one(access: str, paths: tuple[bytes, ...]) -> None:
    with pytest.raises(ValueError, match=r"access|paths|path is empty|one path|NUL"):
        run(argv=None, transfer={"access": access, "paths": paths})
    assert len(m.TransferRequest(access="read", paths=(b"a",) * MAX_PATHS).paths) == MAX_PATHS


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"read_only": True, "stdin": 0}, "neither feeds stdin nor holds"),
        ({"read_only": True, "hold": True}, "neither feeds stdin nor holds"),
        ({"share": True, "stdin": 0}, "share needs stdin and size"),
    ],
)
def test_an_attach_that_contradicts_itself_is_refused(changes: dict[str, object], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        m.Attach.model_validate({"id": RUN_ID} | changes)


def test_a_gap_ends_at_an_offset() -> None:
    assert m.GapNotice(stream="stdout", offset=m.MAX_COUNT - 1, bytes=1).bytes == 1
    with pytest.raises(ValueError, match="beyond the largest offset"):
        m.GapNotice(stream="stdout", offset=m.MAX_COUNT, bytes=1)
