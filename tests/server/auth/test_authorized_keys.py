import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farhand_protocol.sshformat import PublicKey, format_public_key_line
from farhand_server.auth import authorized_keys
from farhand_server.auth.authorized_keys import AuthorizedKeysError, KeyOptions, parse_authorized_keys, parse_sources
from farhand_server.forwards.rules import Permission
from tests.support.cost import assert_linear
from tests.support.openssh import SoftwareSecurityKey

KEY = SoftwareSecurityKey.ed25519().public_key
LINE = format_public_key_line(KEY, "a comment, with words").encode()


RESTRICTED = KeyOptions(restricted=True, no_pty=True, no_ports=True, no_agent=True)


def options_of(line: bytes) -> KeyOptions:
    parsed = parse_authorized_keys(line)
    assert not parsed.refused
    (entry,) = parsed.keys
    assert entry.key == KEY
    return entry.options


def reason_for(line: bytes) -> str:
    parsed = parse_authorized_keys(line)
    assert not parsed.keys
    (refused,) = parsed.refused
    return refused.reason


def test_comments_and_blank_lines_are_skipped_and_the_order_is_kept() -> None:
    other = SoftwareSecurityKey.ecdsa().public_key
    data = b"\n".join(
        [b"# ours", b"", LINE, b" \t ", b"\t # " + LINE, b"  " + format_public_key_line(other).encode() + b"\r"]
    )
    parsed = parse_authorized_keys(data)
    assert [(entry.line, entry.key) for entry in parsed.keys] == [(3, KEY), (6, other)]
    assert parsed.refused == ()


def test_a_line_without_options_restricts_nothing() -> None:
    assert options_of(LINE) == KeyOptions()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (b"restrict", RESTRICTED),
        (b"restrict,pty", replace(RESTRICTED, no_pty=False)),
        (b"port-forwarding,agent-forwarding,pty,restrict", RESTRICTED),
        (b"restrict,Port-Forwarding", replace(RESTRICTED, no_ports=False)),
        (b"restrict,agent-forwarding,no-pty", replace(RESTRICTED, no_agent=False)),
        (b"no-port-forwarding,no-X11-forwarding,no-agent-forwarding", KeyOptions(no_ports=True, no_agent=True)),
        (b"no-agent-forwarding,agent-forwarding,no-user-rc,user-rc,x11-forwarding", KeyOptions()),
        (
            b'restrict,port-forwarding,permitopen="db:5432",PermitOpen="[::1]:*",permitlisten="8080"',
            replace(
                RESTRICTED,
                no_ports=False,
                permit_open=(Permission("db", 5432), Permission("::1", 0)),
                permit_listen=(Permission("*", 8080),),
            ),
        ),
        (b"no-pty", KeyOptions(no_pty=True)),
        (b"No-PTY,RESTRICT", RESTRICTED),
        (b"no-touch-required,Verify-Required", KeyOptions(no_touch=True, verify=True)),
        (b"no-touch-required,verify-required,touch-required,no-verify-required", KeyOptions()),
        (b"restrict,no-touch-required", replace(RESTRICTED, no_touch=True)),
        (b'command="uptime"', KeyOptions(command=b"uptime")),
        (b'COMMAND="uptime"', KeyOptions(command=b"uptime")),
        (b'command=""', KeyOptions(command=b"")),
        (b'command="echo \\"a, b\\" # c"', KeyOptions(command=b'echo "a, b" # c')),
        (b'command="printf \\n \\\\"', None),
        (b'command="a\\\\b \\x"', KeyOptions(command=b"a\\\\b \\x")),
        (b'command="\xff\xfe"', KeyOptions(command=b"\xff\xfe")),
        (b'command="x AAAAB3"', KeyOptions(command=b"x AAAAB3")),
        (b'environment="A=1"', KeyOptions(environment=((b"A", b"1"),))),
        (
            b'environment="A=",environment="B_2=x=y z",environment="A=2"',
            KeyOptions(environment=((b"A", b""), (b"B_2", b"x=y z"))),
        ),
        (b'from="192.0.2.0/24,!192.0.2.1"', KeyOptions(sources=parse_sources("192.0.2.0/24,!192.0.2.1"))),
        (
            b'restrict,command="dump /home",from="*"',
            replace(RESTRICTED, command=b"dump /home", sources=parse_sources("*")),
        ),
    ],
)
def test_options_are_parsed_as_by_sshd(options: bytes, expected: KeyOptions | None) -> None:
    if expected is None:  # a backslash before the closing quote quotes it
        assert "closing quote is missing" in reason_for(options + b" " + LINE)
    else:
        assert options_of(options + b" " + LINE) == expected
        assert options_of(options + b"\t " + LINE) == expected


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("20300102Z", datetime(2030, 1, 2, tzinfo=UTC)),
        ("203001020304Z", datetime(2030, 1, 2, 3, 4, tzinfo=UTC)),
        ("20300102030405Z", datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)),
    ],
)
def test_an_expiry_time_with_z_is_utc(text: str, moment: datetime) -> None:
    assert options_of(f'expiry-time="{text}" '.encode() + LINE).expires == moment.timestamp()


@pytest.fixture
def _two_hours_west(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "XYZ2")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("_two_hours_west")
def test_an_expiry_time_without_z_is_in_the_machines_time_zone() -> None:
    moment = datetime(2030, 1, 2, 5, 4, tzinfo=UTC)
    assert options_of(b'expiry-time="203001020304" ' + LINE).expires == moment.timestamp()


def test_the_earliest_of_several_expiry_times_counts() -> None:
    options = options_of(b'expiry-time="20310101Z",expiry-time="20300101Z" ' + LINE)
    assert options.expires == datetime(2030, 1, 1, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (b"tunnel " + LINE, "option 'tunnel' is not supported; supported are restrict,"),
        (b"cert-authority " + LINE, "option 'cert-authority' is not supported"),
        (b'permitopen="x" ' + LINE, "permitopen: 'x' is not HOST:PORT"),
        (b'permitopen="8080" ' + LINE, "permitopen: '8080' is not HOST:PORT"),
        (b'permitlisten="x:y" ' + LINE, r"permitlisten: 'x:y' is not [HOST:]PORT"),
        (b'permitopen="\xff:1" ' + LINE, "permitopen: not ASCII"),
        (b"permitlisten " + LINE, "option 'permitlisten' needs"),
        (b"restrict, no-pty " + LINE, "option"),
        (b"restrict,,no-pty " + LINE, "comma-separated list"),
        (b"restrict, " + LINE, "comma-separated list"),
        (b",restrict " + LINE, "comma-separated list"),
        (b"restrict=yes " + LINE, "must be followed by a comma"),
        (b'restrict="yes" ' + LINE, "option 'restrict' takes no"),
        (b"command " + LINE, "option 'command' needs"),
        (b"command=uptime " + LINE, "option 'command' needs"),
        (b'command="a"b ' + LINE, "must be followed by a comma"),
        (b'command="a ' + LINE, "closing quote is missing"),
        (b'command="a",command="b" ' + LINE, "option 'command' is given twice"),
        (b'from="*",from="*" ' + LINE, "option 'from' is given twice"),
        (b'from="" ' + LINE, "from: the list has an empty item"),
        (b'from="10.0.0.1/8" ' + LINE, "from: '10.0.0.1/8' is not a network"),
        (b'from="\xff" ' + LINE, "from: the list is not ASCII"),
        (b'environment="A" ' + LINE, "the form environment="),
        (b'environment="=x" ' + LINE, "the form environment="),
        (b'environment="A B=x" ' + LINE, "the form environment="),
        (b'expiry-time="2030" ' + LINE, "is not a date"),
        (b'expiry-time="20301301" ' + LINE, "is not a date"),
        (b'expiry-time="20300101z" ' + LINE, "is not a date"),
        ('expiry-time="２０３００１０１" '.encode() + LINE, "is not a date"),
        (b"ssh-dss AAAAB3NzaC1kc3MAAACBA=", "not valid base64"),
        (b"ssh-dss AAAAB3NzaC1kc3M=", "key type 'ssh-dss' is not supported"),
        (b"restrict", "the line has no key"),
        (b"restrict ssh-ed25519", "the line has no key"),
        (b"restrict ssh-ed25519 AAAA", "the data is cut off"),
        (b'command="a\0b" ' + LINE, "NUL byte"),
        (b'command="' + b"a" * 8192 + b'" ' + LINE, "longer than 8192 bytes"),
    ],
)
def test_an_invalid_line_is_refused_with_a_reason(line: bytes, sentence: str) -> None:
    assert sentence in reason_for(line)


def test_an_invalid_line_does_not_affect_the_others() -> None:
    parsed = parse_authorized_keys(b"nonsense\n" + LINE + b"\nno-such-option " + LINE + b"\n")
    assert [entry.line for entry in parsed.keys] == [2]
    assert [refused.line for refused in parsed.refused] == [1, 3]


def test_a_file_above_its_bounds_is_refused_as_a_whole() -> None:
    assert len(parse_authorized_keys((LINE + b"\n") * authorized_keys.MAX_KEY_LINES).keys) == 2000
    with pytest.raises(AuthorizedKeysError, match="more than 2000 lines"):
        parse_authorized_keys((LINE + b"\n") * (authorized_keys.MAX_KEY_LINES + 1))
    with pytest.raises(AuthorizedKeysError, match="the maximum is 524288"):
        parse_authorized_keys(b"#" * (authorized_keys.MAX_KEY_FILE + 1))


@given(st.one_of(st.binary(), st.binary().map(lambda noise: noise + b" " + LINE)))
def test_parsing_never_raises_for_a_small_file(data: bytes) -> None:
    parse_authorized_keys(data)


@given(st.binary().filter(lambda data: not any(c in data for c in b'\n\0"\\')))
def test_any_command_without_quotes_is_read_back(command: bytes) -> None:
    assert options_of(b'command="' + command + b'" ' + LINE).command == command


@given(st.text('\\"a ,=', max_size=12))
def test_options_never_hide_or_invent_a_key(text: str) -> None:
    """Whatever is in quotes, the line's key is the one after the options, or it has none."""
    parsed = parse_authorized_keys(f'command="{text}" '.encode() + LINE)
    keys: list[PublicKey] = [entry.key for entry in parsed.keys]
    assert keys in ([KEY], [])
    assert len(parsed.keys) + len(parsed.refused) == 1


SHAPES = {
    "lines": lambda n: (LINE + b"\n") * n,
    "refused lines": lambda n: b"ssh-ed25519 AAAA\n" * n,
    "comments": lambda n: b"# a comment\n" * n,
    "options": lambda n: b",".join([b"no-pty"] * n) + b" " + LINE,
    "sources": lambda n: b'from="' + b",".join([b"10.0.0.0/8"] * n) + b'" ' + LINE,
    "names": lambda n: b",".join(b'environment="A%d=1"' % number for number in range(n)) + b" " + LINE,
    "quotes": lambda n: b'command="' + b'\\"' * n + b'" ' + LINE,
    "an open quote": lambda n: b'command="' + b"a " * n + LINE,
    "blanks": lambda n: b" " * n + LINE,
    "base64": lambda n: b"ssh-ed25519 " + b"A" * n,
}


@pytest.mark.parametrize("shape", SHAPES)
def test_ten_times_the_file_costs_ten_times_as_much(shape: str) -> None:
    def parse(data: bytes) -> None:
        with suppress(AuthorizedKeysError):
            parse_authorized_keys(data)

    assert_linear(parse, SHAPES[shape], 200)
