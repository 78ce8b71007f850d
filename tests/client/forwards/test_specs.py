"""The forwards of ssh(1) are read as ssh reads them, and each mistake is a sentence with what to write instead."""

from __future__ import annotations

import contextlib
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farhand_client.forwards.specs import ForwardFlag, ForwardSpec, SpecError, parse_spec, parse_stdio
from farhand_forwards.targets import MAX_UNIX_PATH, ForwardTarget, InetTarget, UnixTarget

LONG_PATH = "/" + "x" * MAX_UNIX_PATH


def tcp(host: str, port: int) -> InetTarget:
    return InetTarget(host, port)


def udp(host: str, port: int) -> InetTarget:
    return InetTarget(host, port, "udp")


def unix(path: str) -> UnixTarget:
    return UnixTarget(os.fsencode(path))


@pytest.mark.parametrize(
    ("flag", "text", "listen", "connect"),
    [
        ("-L", "8080:db:5432", tcp("", 8080), tcp("db", 5432)),
        ("-L", "  8080:db:5432", tcp("", 8080), tcp("db", 5432)),
        ("-L", "0:db:5432", tcp("", 0), tcp("db", 5432)),
        ("-L", "8080:db:postgresql", tcp("", 8080), tcp("db", 5432)),
        ("-L", "127.0.0.1:8080:db:80", tcp("127.0.0.1", 8080), tcp("db", 80)),
        ("-L", "localhost:8080:db:80", tcp("", 8080), tcp("db", 80)),
        ("-L", "*:8080:db:80", tcp("*", 8080), tcp("db", 80)),
        ("-L", ":8080:db:80", tcp("*", 8080), tcp("db", 80)),
        ("-L", "[]:8080:db:80", tcp("*", 8080), tcp("db", 80)),
        ("-L", "[::1]:8080:[2001:db8::7]:80", tcp("::1", 8080), tcp("2001:db8::7", 80)),
        ("-L", "[fe80::1%eth0]:8080:db:80", tcp("fe80::1%eth0", 8080), tcp("db", 80)),
        ("-L", "8080:/run/s.sock", tcp("", 8080), unix("/run/s.sock")),
        ("-L", "127.0.0.1:8080:/run/s.sock", tcp("127.0.0.1", 8080), unix("/run/s.sock")),
        ("-L", "/tmp/here:db:80", unix("/tmp/here"), tcp("db", 80)),
        ("-L", "./here:/tmp/there", unix("./here"), unix("/tmp/there")),
        ("-L", r"/tmp/a\:b\\c:/tmp/there", unix(r"/tmp/a:b\c"), unix("/tmp/there")),
        ("-L", r"[/tmp/a:b\c]:[/tmp/d:e]", unix(r"/tmp/a:b\c"), unix("/tmp/d:e")),
        ("-L", "/tmp/\udcff:/tmp/there", UnixTarget(b"/tmp/\xff"), unix("/tmp/there")),
        ("-L", "udp:5353:ns:53", udp("", 5353), udp("ns", 53)),
        ("-L", "udp:*:0:[2001:db8::7]:53", udp("*", 0), udp("2001:db8::7", 53)),
        ("-R", "8080:localhost:80", tcp("", 8080), tcp("localhost", 80)),
        ("-R", "0:localhost:80", tcp("", 0), tcp("localhost", 80)),
        ("-R", "/tmp/there:/tmp/here", unix("/tmp/there"), unix("/tmp/here")),
        ("-R", "udp:127.0.0.1:5353:ns:53", udp("127.0.0.1", 5353), udp("ns", 53)),
        ("-R", "1080", tcp("", 1080), None),
        ("-R", "0", tcp("", 0), None),
        ("-R", "127.0.0.1:1080", tcp("127.0.0.1", 1080), None),
        ("-R", "/tmp/socks", unix("/tmp/socks"), None),
        ("-D", "1080", tcp("", 1080), None),
        ("-D", "socks", tcp("", 1080), None),
        ("-D", "*:1080", tcp("*", 1080), None),
        ("-D", "[::1]:0", tcp("::1", 0), None),
    ],
)
def test_a_forward_is_read_as_ssh_reads_it(
    flag: ForwardFlag, text: str, listen: ForwardTarget, connect: ForwardTarget | None
) -> None:
    assert parse_spec(flag, text) == ForwardSpec(flag, listen, connect)


@pytest.mark.parametrize(
    ("flag", "text", "says", "instead"),
    [
        ("-L", "", "needs a forward", "-L 8080:localhost:80"),
        ("-R", " ", "needs a forward", "-R 8080:localhost:80"),
        ("-D", "", "needs a forward", "-D 1080"),
        ("-L", "8080", "not where to connect", "-L 8080:HOST:PORT"),
        ("-L", "/tmp/s", "not where to connect", "-L /tmp/s:HOST:PORT"),
        ("-L", "8080:80", "is missing", "-L 8080:localhost:80"),
        ("-L", "8080:db", "is missing", "-L 8080:db:PORT"),
        ("-R", "/tmp/s:80", "is missing", "-R /tmp/s:localhost:80"),
        ("-L", "[/tmp/a:b]:80", "is missing", "-L [/tmp/a:b]:localhost:80"),
        ("-L", "8080::80", "is empty", "localhost:80"),
        ("-L", "8080:db:", "nothing follows its last colon", "-L [bind:]port:host:hostport"),
        ("-L", "8080:[::1]:", "nothing follows its last colon", "-L [bind:]port:host:hostport"),
        ("-L", "8080:2001:db8::7:80", "too many colons", "[2001:db8::1]:80"),
        ("-D", "::1:1080:1:2", "too many colons", "-D [::1]:1080"),
        ("-L", "a:8080:db:80:90", "too many colons", "in brackets"),
        ("-L", "[::1:8080", "a ] is missing", ""),
        ("-L", "[::1]8080:db:80", "a colon must follow, not '8'", ""),
        ("-L", "8080:/tmp/s\\", "nothing follows the \\", "\\\\"),
        ("-L", "70000:db:80", "0 to 65535, not 70000", ""),
        ("-L", "9" * 5000 + ":db:80", "0 to 65535", ""),
        ("-L", "8080:db:0", "1 to 65535, not 0", ""),
        ("-L", "8080:db:nosuchservice", "is no number", "-L [bind:]port:host:hostport"),
        ("-L", "db:5432:8080", "is no number", "-L [bind:]port:host:hostport"),
        ("-L", "127.0.0.1::db:80", "is empty", "-L [bind:]port:host:hostport"),
        ("-L", "8080:http://db:80", "a URL", "-L 8080:db:80"),
        ("-L", "8080:http://db/x", "a URL", "-L 8080:db:PORT"),
        ("-L", "tcp:8080:db:80", "TCP", "-L 8080:db:80"),
        ("-L", "5353:ns:53/udp", "UDP", "-L udp:5353:ns:53"),
        ("-L", "8080:me@db:80", "no user", "db"),
        ("-L", "8080:d b:80", "' '", ""),
        ("-L", "8080:d\x1bb:80", "'\\x1b'", ""),
        ("-L", "8080:" + "x" * 256 + ":80", "more than 255 characters", ""),
        ("-L", f"8080:{LONG_PATH}", "more than 107 bytes", ""),
        ("-L", "8080:/tmp/s:80", "write -L", "[bind:]port:host:hostport"),
        ("-L", "a:8080:[/tmp/s]:80", "write -L", "[bind:]port:host:hostport"),
        ("-L", "udp:8080:/tmp/s", "is a Unix socket", "udp: needs host and port"),
        ("-R", "udp:8080", "no SOCKS", "-R udp:8080:host:hostport"),
        ("-D", "udp:1080", "SOCKS carries UDP", "-D 1080"),
        ("-D", "8080:db:80", "only says where to listen", "-L"),
        ("-D", "8080:/tmp/s", "is no number", "-D [bind:]port"),
    ],
)
def test_a_mistake_is_named_with_what_to_write(flag: ForwardFlag, text: str, says: str, instead: str) -> None:
    with pytest.raises(SpecError) as refused:
        parse_spec(flag, text)
    assert str(refused.value).startswith(f"{flag} {text}: " if text.strip() else flag)
    assert says in str(refused.value)
    assert instead in str(refused.value)


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("db:5432", tcp("db", 5432)),
        (" db:ssh", tcp("db", 22)),
        ("[2001:db8::7]:22", tcp("2001:db8::7", 22)),
        ("/run/s.sock", unix("/run/s.sock")),
    ],
)
def test_stdio_leads_to_one_target(text: str, target: ForwardTarget) -> None:
    assert parse_stdio(text) == target


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "-W localhost:80"),
        ("80", "write -W localhost:80"),
        ("db", "write -W db:PORT"),
        ("8080:db:80", "-W host:port"),
        ("/tmp/s:80", "-W host:port"),
        ("2001:db8::7:22", "-W [::1]:80"),
        ("db:0", "1 to 65535"),
        (":80", "localhost:80"),
        ("udp:ns:53", "no datagrams"),
    ],
)
def test_a_mistake_in_stdio_is_named(text: str, says: str) -> None:
    with pytest.raises(SpecError) as refused:
        parse_stdio(text)
    assert says in str(refused.value)


HOSTS = st.from_regex(r"[a-z0-9.:%-]{1,40}", fullmatch=True)
PATHS = st.text(st.characters(exclude_characters="\0"), min_size=1, max_size=20).map(lambda text: f"{text}/")
PORTS = st.integers(1, 65535)
BINDS = st.sampled_from(["", "*", "udp"]) | HOSTS.filter(lambda host: host not in ("localhost", "tcp"))
UNIX = PATHS.map(os.fsencode).map(UnixTarget)
SPECS = (
    st.builds(
        ForwardSpec,
        st.sampled_from(["-L", "-R"]),
        st.builds(InetTarget, BINDS, st.integers(0, 65535), st.just("tcp")) | UNIX,
        st.builds(InetTarget, HOSTS, PORTS, st.just("tcp")) | UNIX,
    )
    | st.builds(
        ForwardSpec,
        st.sampled_from(["-L", "-R"]),
        st.builds(InetTarget, BINDS, st.integers(0, 65535), st.just("udp")),
        st.builds(InetTarget, HOSTS, PORTS, st.just("udp")),
    )
    | st.builds(
        ForwardSpec,
        st.sampled_from(["-R", "-D"]),
        st.builds(InetTarget, BINDS, st.integers(0, 65535), st.just("tcp")) | UNIX,
        st.none(),
    )
)


@given(SPECS)
def test_what_a_forward_prints_is_read_as_that_forward(spec: ForwardSpec) -> None:
    assert parse_spec(spec.flag, spec.text) == spec
    assert str(spec) == f"{spec.flag} {spec.text}"


@given(st.sampled_from(["-L", "-R", "-D"]), st.text(st.sampled_from("[]:\\/*.@u dp80") | st.characters(), max_size=40))
def test_whatever_is_typed_is_a_forward_or_a_mistake(flag: ForwardFlag, text: str) -> None:
    with contextlib.suppress(SpecError):
        assert parse_spec(flag, parse_spec(flag, text).text) == parse_spec(flag, text)
    with contextlib.suppress(SpecError):
        parse_stdio(text)
