"""known_hosts files: lookups as ssh does them, and changes by several processes at once."""

import multiprocessing
import os
import stat
import subprocess
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from farhand_client.trust import KnownHostsError
from farhand_client.trust.host_lines import HostKeyState
from farhand_client.trust.known_hosts import HostKeyCheck, KnownHosts
from farhand_protocol import sshformat
from farhand_protocol.sshformat import PublicKey, format_public_key_line, pack_string
from tests.support.cost import assert_linear


def ed25519_key(number: int) -> PublicKey:
    return sshformat.parse_public_key(pack_string(b"ssh-ed25519") + pack_string(number.to_bytes(32, "big")))


KEY, OTHER = ed25519_key(1), ed25519_key(2)
K, L = format_public_key_line(KEY), format_public_key_line(OTHER)
KNOWN: HostKeyState = "known"
UNKNOWN: HostKeyState = "unknown"
CHANGED: HostKeyState = "changed"
REVOKED: HostKeyState = "revoked"


@pytest.fixture
def known_hosts(tmp_path: Path) -> KnownHosts:
    return KnownHosts(tmp_path / "config" / "known_hosts")


def write(known_hosts: KnownHosts, *lines: str) -> None:
    known_hosts.path.parent.mkdir(exist_ok=True)
    known_hosts.path.write_text("".join(f"{line}\n" for line in lines))


@pytest.mark.parametrize(
    ("lines", "port", "state", "line"),
    [
        ([], 7022, UNKNOWN, None),
        (["# h " + K, "", "other " + K], 7022, UNKNOWN, None),
        (["h " + K], 7022, KNOWN, 1),
        (["H " + K], 7022, KNOWN, 1),
        (["h " + K + " a comment"], 7022, KNOWN, 1),
        (["  h\t" + K], 7022, KNOWN, 1),
        (["h " + L], 7022, CHANGED, 1),
        (["", "h " + L, "h " + K], 7022, KNOWN, 3),
        (["h " + K, "h " + L], 7022, KNOWN, 1),
        # Ports: a name alone means 7022.
        (["[h]:7022 " + K], 7022, KNOWN, 1),
        (["h " + K], 7023, UNKNOWN, None),
        (["[h]:7023 " + K], 7023, KNOWN, 1),
        (["[h]:7023 " + K], 7022, UNKNOWN, None),
        (["[h]:* " + K], 7023, KNOWN, 1),
        # Lists, wildcards, negation.
        (["a,h,b " + K], 7022, KNOWN, 1),
        (["?,!x " + K], 7022, KNOWN, 1),
        (["* " + L], 7022, CHANGED, 1),
        (["*,!h " + L], 7022, UNKNOWN, None),
        # Markers.
        (["@revoked h " + K], 7022, REVOKED, 1),
        (["h " + K, "@revoked * " + K], 7022, REVOKED, 2),
        (["@revoked h " + L], 7022, UNKNOWN, None),
        (["@revoked other " + K, "h " + K], 7022, KNOWN, 2),
        (["@cert-authority h " + K], 7022, UNKNOWN, None),
        # A damaged line must not make the host look new.
        (["h ssh-ed25519 AAAA"], 7022, CHANGED, 1),
        (["h ssh-dss AAAAB3NzaC1kc3M="], 7022, CHANGED, 1),
        (["h"], 7022, CHANGED, 1),
        (["@unknown h " + K], 7022, CHANGED, 1),
        (["@revoked"], 7022, UNKNOWN, None),
        (["|1|notbase64!|x " + K, "|2|AAAA|AAAA " + K, "|1 " + K, "| " + K], 7022, UNKNOWN, None),
    ],
)
def test_a_key_is_looked_up_as_ssh_does(
    known_hosts: KnownHosts, lines: list[str], port: int, state: HostKeyState, line: int | None
) -> None:
    write(known_hosts, *lines)
    found = known_hosts.check("h", port, KEY)
    assert (found.state, found.line) == (state, line)


def test_without_a_file_every_service_is_unknown(known_hosts: KnownHosts) -> None:
    assert known_hosts.check("h", 7022, KEY).state == UNKNOWN


@pytest.mark.needs("ssh-keygen")
@pytest.mark.parametrize("port", [7022, 7023])
def test_names_hashed_by_ssh_keygen_are_found(known_hosts: KnownHosts, port: int) -> None:
    known_hosts.add("web.example.net", port, KEY)
    known_hosts.add("db.example.net", port, OTHER)
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", known_hosts.path], check=True, stderr=subprocess.DEVNULL)
    assert "example" not in known_hosts.path.read_text()
    assert known_hosts.check("Web.example.net", port, KEY).state == KNOWN
    assert known_hosts.check("web.example.net", port, OTHER).state == CHANGED
    assert known_hosts.check("other.example.net", port, KEY).state == UNKNOWN


@pytest.mark.needs("ssh-keygen")
@pytest.mark.parametrize(("port", "name"), [(7022, "web.example.net"), (7023, "[web.example.net]:7023")])
def test_ssh_keygen_finds_an_added_key(known_hosts: KnownHosts, port: int, name: str) -> None:
    known_hosts.add("Web.Example.net", port, KEY)
    found = subprocess.check_output(["ssh-keygen", "-F", name, "-f", known_hosts.path], text=True)
    assert found.splitlines()[1] == f"{name} {K}"


def test_ipv6_addresses_are_valid_names(known_hosts: KnownHosts) -> None:
    for port in (7022, 7023):
        known_hosts.add("2001:db8::1", port, KEY)
        assert known_hosts.check("2001:DB8::1", port, KEY).state == KNOWN
    assert known_hosts.path.read_text() == f"2001:db8::1 {K}\n[2001:db8::1]:7023 {K}\n"


def test_the_file_is_created_readable_by_its_owner_only(known_hosts: KnownHosts) -> None:
    before = os.umask(0)
    try:
        known_hosts.add("h", 7022, KEY)
    finally:
        os.umask(before)
    assert stat.S_IMODE(known_hosts.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(known_hosts.path.parent.stat().st_mode) == 0o700


def test_adding_a_known_key_changes_nothing(known_hosts: KnownHosts) -> None:
    known_hosts.add("h", 7022, KEY)
    known_hosts.add("h", 7022, KEY)
    assert known_hosts.path.read_text() == f"h {K}\n"


def test_a_last_line_without_newline_is_completed_before_appending(known_hosts: KnownHosts) -> None:
    known_hosts.path.parent.mkdir()
    known_hosts.path.write_text(f"a {L}")
    known_hosts.add("h", 7022, KEY)
    assert known_hosts.path.read_text() == f"a {L}\nh {K}\n"


def test_a_changed_key_is_replaced_only_on_request(known_hosts: KnownHosts) -> None:
    write(known_hosts, "# first", f"h {L}", f"x,h,y {L}", f"[h]:7023 {L}", f"@revoked h {L}")
    with pytest.raises(KnownHostsError, match=r"known_hosts:2 has another key for h; remove that line"):
        known_hosts.add("h", 7022, KEY)
    known_hosts.add("h", 7022, KEY, replace=True)
    assert known_hosts.path.read_text().splitlines() == [
        "# first",
        f"x,y {L}",
        f"[h]:7023 {L}",
        f"@revoked h {L}",
        f"h {K}",
    ]
    assert [path.name for path in known_hosts.path.parent.iterdir()] == ["known_hosts"]
    assert stat.S_IMODE(known_hosts.path.stat().st_mode) == 0o600


def test_a_pattern_is_never_rewritten(known_hosts: KnownHosts) -> None:
    write(known_hosts, f"h,* {L}")
    with pytest.raises(KnownHostsError, match="known_hosts:1 has another key for h by a pattern; edit that line"):
        known_hosts.add("h", 7022, KEY, replace=True)


def test_a_revoked_key_is_never_added(known_hosts: KnownHosts) -> None:
    write(known_hosts, f"@revoked * {K}")
    with pytest.raises(KnownHostsError, match=r"known_hosts:1: the key SHA256:\S+ of h is revoked"):
        known_hosts.add("h", 7022, KEY, replace=True)


@pytest.mark.parametrize("host", ["", "*", "a,b", "!h", "|1|a|b", "@revoked", "#h", "a b", "a\nb", "[h]", "?"])
def test_a_name_with_a_meaning_in_the_file_is_refused(known_hosts: KnownHosts, host: str) -> None:
    with pytest.raises(KnownHostsError, match="is not a host name"):
        known_hosts.add(host, 7022, KEY)
    assert not known_hosts.path.exists()


def test_a_check_returns_the_name_and_the_stored_key(known_hosts: KnownHosts) -> None:
    path = known_hosts.path
    assert known_hosts.check("H", 7023, KEY) == HostKeyCheck(UNKNOWN, "[h]:7023", path)
    write(known_hosts, "", f"h {L}")
    assert known_hosts.check("h", 7022, KEY) == HostKeyCheck(CHANGED, "h", path, 2, OTHER.fingerprint)
    write(known_hosts, "h damaged")
    assert known_hosts.check("h", 7022, KEY) == HostKeyCheck(CHANGED, "h", path, 1, None, "the key is missing")
    write(known_hosts, "@trusted h " + K)
    problem = "unknown marker @trusted"
    assert known_hosts.check("h", 7022, KEY) == HostKeyCheck(CHANGED, "h", path, 1, None, problem)
    write(known_hosts, "h damaged", "h " + L)
    assert known_hosts.check("h", 7022, KEY).line == 2


def test_an_unusable_file_is_an_error_rather_than_empty(known_hosts: KnownHosts) -> None:
    known_hosts.path.parent.mkdir()
    known_hosts.path.write_bytes(b"#" * (1024 * 1024 + 1))
    with pytest.raises(KnownHostsError, match="is larger than 1048576 bytes"):
        known_hosts.check("h", 7022, KEY)
    known_hosts.path.unlink()
    os.mkfifo(known_hosts.path)
    with pytest.raises(KnownHostsError, match="is not a regular file"):
        known_hosts.check("h", 7022, KEY)


def test_a_file_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(KnownHostsError, match=r"cannot write .*known_hosts: (File exists|Not a directory)"):
        KnownHosts(tmp_path / "file" / "known_hosts").add("h", 7022, KEY)


def add_many(path: Path, writer: int, start: threading.Barrier) -> None:
    known_hosts = KnownHosts(path)
    start.wait()
    for number in range(20):
        # Alternate between replacing and appending, so that both meet.
        known_hosts.add("shared", 7022, ed25519_key(100 + writer), replace=True)
        known_hosts.add(f"host-{writer}-{number}", 7022, KEY)


def test_concurrent_writers_lose_nothing(known_hosts: KnownHosts) -> None:
    context = multiprocessing.get_context("fork")  # faster than a new interpreter for each
    start = context.Barrier(3)
    writers = [context.Process(target=add_many, args=(known_hosts.path, n, start)) for n in range(3)]
    for process in writers:
        process.start()
    for process in writers:
        process.join()
        assert process.exitcode == 0
    for writer in range(3):
        for number in range(20):
            assert known_hosts.check(f"host-{writer}-{number}", 7022, KEY).state == KNOWN
    assert known_hosts.path.read_text().count("shared ") == 1


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200))
def test_arbitrary_bytes_in_the_file_raise_nothing(known_hosts: KnownHosts, data: bytes) -> None:
    known_hosts.path.parent.mkdir(exist_ok=True)
    known_hosts.path.write_bytes(data)
    known_hosts.check("h", 7022, KEY)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(["h", "*", "!h", "h?", "[h]:7022", "x", "!x", "|1|AA==|AA=="]), min_size=1))
def test_a_line_with_our_key_never_makes_it_changed(known_hosts: KnownHosts, hosts: list[str]) -> None:
    write(known_hosts, f"{','.join(hosts)} {K}")
    assert known_hosts.check("h", 7022, KEY).state in (KNOWN, UNKNOWN)


def test_the_names_that_can_be_read_are_listed(known_hosts: KnownHosts) -> None:
    assert known_hosts.names() == []
    write(known_hosts, f"a,[b]:22 {K}", f"*.c,!d {K}", f"|1|x|y {K}", f"@revoked e {K}", f"f.example {L}")
    assert known_hosts.names() == ["a", "b", "f.example"]
    known_hosts.path.unlink()
    known_hosts.path.mkdir()
    assert known_hosts.names() == []


SHAPES = {
    "lines": lambda n: [f"host{number} {K}" for number in range(n)],
    "lines of this host": lambda n: [f"build.example {L}"] * n,
    "names": lambda n: [",".join(f"host{number}" for number in range(n)) + f" {K}"],
    "patterns": lambda n: [",".join(["*a*b*"] * n) + f" {K}"],
    "stars": lambda n: ["*" * n + f"x {K}"],
    "no keys": lambda n: ["build.example"] * n,
    "base64": lambda n: ["build.example ssh-ed25519 " + "A" * n],
}


@pytest.mark.parametrize("shape", SHAPES)
def test_ten_times_the_file_costs_ten_times_as_much(shape: str, known_hosts: KnownHosts) -> None:
    def check(lines: list[str]) -> None:
        write(known_hosts, *lines)
        known_hosts.check("build.example", 7022, KEY)

    assert_linear(check, SHAPES[shape], 200)
