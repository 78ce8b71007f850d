"""The functions that are fuzzed, and the process that does it: `python -m tests.campaigns.fuzz_targets TARGET CORPUS`.

Each target takes any bytes and may raise only what its documentation names; everything else is a finding. Further
arguments go to libFuzzer, which atheris drives. Where atheris cannot be installed, the inputs are mutations of the
examples, without coverage; then only `-max_total_time`, `-max_len` and `-seed` count.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import itertools
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

from . import fuzz_streams
from .fuzz_streams import Check


class Target(NamedTuple):
    """One function to fuzz: `make` imports what it needs and returns it. `examples` are the first inputs."""

    make: Callable[[], Check]
    examples: Callable[[], list[bytes]]


def _frames() -> Check:
    from farhand_protocol.errors import ErrorCode, RemoteProtocolError
    from farhand_protocol.frames import FrameDecoder

    def header(kind: int, channel: int, length: int) -> None:
        if kind > 8 or length > 1 << 16:
            raise RemoteProtocolError(ErrorCode.INTERNAL, "refused")

    def check(data: bytes) -> None:
        whole, cut = FrameDecoder(header), FrameDecoder(header)
        with contextlib.suppress(RemoteProtocolError):
            expected = list(whole.frames(data))
            middle = len(data) // 2
            found = [*cut.frames(data[:middle]), *cut.frames(data[middle:])]
            assert _run_together(found) == _run_together(expected)

    return check


def _run_together(frames: list[tuple[int, int, bytes]]) -> list[tuple[int, int, bytes]]:
    """Return the frames with those of the same stream that follow each other as one: bulk data come in any parts."""
    return [
        (kind, channel, b"".join(payload for _, _, payload in each))
        for (kind, channel), each in itertools.groupby(frames, key=lambda frame: frame[:2])
    ]


def _json() -> Check:
    from farhand_protocol.errors import RemoteProtocolError
    from farhand_protocol.limits import Limits
    from farhand_protocol.strict_json import check_json

    limits = Limits()

    def check(data: bytes) -> None:
        with contextlib.suppress(RemoteProtocolError):
            check_json(data, limits)

    return check


def _messages() -> Check:
    from farhand_protocol import messages as m
    from farhand_protocol.errors import RemoteProtocolError
    from farhand_protocol.limits import Limits

    limits = Limits()

    def check(data: bytes) -> None:
        with contextlib.suppress(RemoteProtocolError):
            message = m.decode(data, limits)
            assert m.decode(m.encode(message), limits) == message

    return check


def _connection() -> Check:
    from farhand_protocol.states import Phase, Side
    from tests.support.pairs import in_phase

    places = [(side, phase) for side in Side for phase in Phase if phase is not Phase.CLOSED]

    def check(data: bytes) -> None:
        if data:
            end = in_phase(*places[data[0] % len(places)])
            for _ in end.receive_data(data[1:]):
                pass
            end.data_to_send()

    return check


def _steps() -> Check:
    from farhand_protocol.states import Side
    from tests.protocol.test_connection_interleavings import STEP_SIZE, Step, World

    def check(data: bytes) -> None:
        world = World()
        for at in range(0, len(data) - STEP_SIZE + 1, STEP_SIZE):
            world.step(Step.decode(data[at : at + STEP_SIZE]))
        for key, received in world.received.items():
            assert world.sent_data[key].startswith(received)
        world.settle()
        assert all(not world.pair.end(side).open_channels for side in Side)

    return check


def _sshsig() -> Check:
    from farhand_protocol.login import decode_sshsig
    from farhand_protocol.sshformat import SSHFormatError, parse_public_key

    def check(data: bytes) -> None:
        with contextlib.suppress(SSHFormatError):
            parse_public_key(decode_sshsig(data).public_key)

    return check


def _public_keys() -> Check:
    from farhand_protocol.sshformat import SSHFormatError, format_public_key_line, parse_public_key_line

    def check(data: bytes) -> None:
        with contextlib.suppress(SSHFormatError):
            key, _ = parse_public_key_line(data.decode("latin-1"))
            assert parse_public_key_line(format_public_key_line(key))[0] == key

    return check


def _key_files() -> Check:
    from farhand_client.trust import IdentityError
    from farhand_client.trust.keyfile import read_key_file

    def check(data: bytes) -> None:
        with contextlib.suppress(IdentityError):
            read_key_file(written(data))

    return check


def _authorized_keys() -> Check:
    from farhand_server.auth.authorized_keys import AuthorizedKeysError, parse_authorized_keys

    def check(data: bytes) -> None:
        with contextlib.suppress(AuthorizedKeysError):
            parse_authorized_keys(data)

    return check


def _known_hosts() -> Check:
    from farhand_client.trust import KnownHostsError
    from farhand_client.trust.known_hosts import KnownHosts
    from farhand_protocol.sshformat import parse_public_key_line

    key, _ = parse_public_key_line(PUBLIC.decode())

    def check(data: bytes) -> None:
        known = KnownHosts(written(data))
        with contextlib.suppress(KnownHostsError):
            known.check("host", 7022, key)
            known.check("192.0.2.1", 22, key)
        known.names()

    return check


def _proxy() -> Check:
    from farhand_server.listen.proxy import ProxyError, parse

    def check(data: bytes) -> None:
        with contextlib.suppress(ProxyError):
            parse(data)

    return check


def _policy() -> Check:
    from farhand_server.policy.load import PolicyError, load_policy

    def check(data: bytes) -> None:
        with contextlib.suppress(PolicyError):
            load_policy(written(data))

    return check


def _patterns() -> Check:
    from farhand_server.policy.patterns import has_wildcard, matches_arguments

    def check(data: bytes) -> None:
        pattern, _, argument = data.partition(b"\0")
        text = pattern.decode(errors="surrogateescape")
        if matches_arguments([text, ""], [argument, b""]) and has_wildcard(text) and text.strip("*"):
            assert b".." not in argument.split(b"/")
            assert b"/" in pattern or b"/" not in argument

    return check


def _config() -> Check:
    from farhand_server.config.load import ConfigError, effective_toml, load

    def check(data: bytes) -> None:
        with contextlib.suppress(ConfigError):
            effective_toml(load(written(data)))

    return check


def _emulator() -> Check:
    from farhand_client.terminal.emulator import Emulator
    from farhand_client.terminal.settings import TerminalSettings

    def check(data: bytes) -> None:
        whole, cut = Emulator(20, 5, TerminalSettings()), Emulator(20, 5, TerminalSettings())
        whole.feed(data)
        for at in range(0, len(data), 7):
            cut.feed(data[at : at + 7])

    return check


def _scanner() -> Check:
    from farhand_client.repl.lines import background_command, is_blank, parse_builtin
    from farhand_client.repl.syntax import scan

    def check(data: bytes) -> None:
        text = data.decode(errors="surrogateescape")
        is_blank(text)
        if scan(text).unfinished is None:  # the prompt asks for another line before it looks for a command
            parse_builtin(text)
            background_command(text)

    return check


PUBLIC: Final = b"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE me@host"
ROOT: Final = Path(__file__).parents[2]


def _message_examples() -> list[bytes]:
    from farhand_protocol import messages as m
    from tests.protocol.test_connection_interleavings import SAMPLES

    return [m.encode(each) for each in SAMPLES]


def _frame_examples() -> list[bytes]:
    from tests.support.pairs import ACCEPTED, hello, message, run, welcome

    return [message(0, hello()), message(0, welcome()), message(0, ACCEPTED), message(1, run())]


def _phase_examples() -> list[bytes]:
    return [bytes([number]) + each for each in _frame_examples() for number in range(12)]


def _proxy_examples() -> list[bytes]:
    from farhand_server.listen.proxy import ProxyHeader, encode

    return [encode(ProxyHeader(local=True)), encode(ProxyHeader(unique_id=bytes(16)))]


def _of(*examples: bytes) -> Callable[[], list[bytes]]:
    return lambda: list(examples)


def _file(name: str) -> Callable[[], list[bytes]]:
    return lambda: [(ROOT / name).read_bytes()]


TARGETS: Final[dict[str, Target]] = {
    "frames": Target(_frames, _frame_examples),
    "json": Target(_json, _message_examples),
    "messages": Target(_messages, _message_examples),
    "connection": Target(_connection, _phase_examples),
    "steps": Target(_steps, _of(bytes(range(240)))),
    "sshsig": Target(_sshsig, _of(b"SSHSIG\0\0\0\1\0\0\0\0\0\0\0\4auth\0\0\0\0\0\0\0\6sha512\0\0\0\0")),
    "public keys": Target(_public_keys, _of(PUBLIC)),
    "key files": Target(
        _key_files,
        _of(
            b"-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEA\n-----END OPENSSH PRIVATE KEY-----\n",
            b"-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nAAAA\n-----END RSA PRIVATE KEY-----\n",
        ),
    ),
    "authorized_keys": Target(
        _authorized_keys,
        _of(PUBLIC, b'from="192.0.2.0/24,!10.*",command="a",expiry-time="20300101Z" ' + PUBLIC),
    ),
    "known_hosts": Target(
        _known_hosts, _of(b"host " + PUBLIC, b"@revoked [192.0.2.1]:22,*.x " + PUBLIC, b"|1|YQ=|Y= ")
    ),
    "proxy": Target(_proxy, _proxy_examples),
    "policy": Target(_policy, _file("server/farhand_server/policy/policy.toml")),
    "patterns": Target(_patterns, _of(b"app-*.service\0app-/../x.service", b"/srv/*\0/srv/a/../b")),
    "config": Target(_config, _file("server/farhand_server/config/farhandd.toml")),
    "emulator": Target(_emulator, _of(b"\x1b[31;1mred\x1b[0m\r\n\x1b[?1049h\x1b[2J\x1b[10;3H\xe2\x82\xac\x1b]0;a\x07")),
    "transfer frames": Target(fuzz_streams.transfer_frames, fuzz_streams.transfer_frame_examples),
    "transfer options": Target(fuzz_streams.transfer_options, fuzz_streams.transfer_option_examples),
    "tunnel frames": Target(fuzz_streams.tunnel_frames, fuzz_streams.tunnel_frame_examples),
    "entry paths": Target(
        fuzz_streams.entry_paths, _of(b"a/b", b"../a", b"/a//b", b"a/.farhand-0123456789abcdef-00ff00ff.part")
    ),
    "excludes": Target(fuzz_streams.excludes, _of(b"*.o\n!a/**/b\n[!a-c]\n\\#x\0a/x.o")),
    "scanner": Target(_scanner, _of(b"for i in $(ls); do echo \"${i%.*}\" > 'a b' <<E\nE\ndone", b"cd -- ~/x; fg %1")),
}


def written(data: bytes) -> Path:
    """Return a file with this content; it is the same file each time."""
    path = _file_for_inputs()
    path.write_bytes(data)
    return path


@cache
def _file_for_inputs() -> Path:
    memory = Path("/dev/shm")
    handle, name = tempfile.mkstemp(prefix="fh-fuzz-", dir=memory if memory.is_dir() else None)
    os.close(handle)
    return Path(name)


def main(arguments: Sequence[str]) -> None:
    """Fuzz one target. Ends with an error, and leaves the input in the current directory, at the first finding."""
    name, corpus, *options = arguments
    target = TARGETS[name]
    try:
        if importlib.util.find_spec("atheris") is None:
            _without_coverage(target, options)
            return
        for number, example in enumerate(target.examples()):
            Path(corpus, f"example-{number}").write_bytes(example)
        ours = ("farhand_", "tests.protocol", "tests.support")
        for module in [each for each in sys.modules if each.startswith(ours)]:
            del sys.modules[module]  # imported for the examples; imported again below, with counters for coverage
        atheris: Any = importlib.import_module("atheris")
        with atheris.instrument_imports(
            include=["farhand_protocol", "farhand_files", "farhand_server", "farhand_client"]
        ):
            check = target.make()
        atheris.Setup([sys.argv[0], corpus, *options], check)
        atheris.Fuzz()
    finally:
        _file_for_inputs().unlink(missing_ok=True)


def _without_coverage(target: Target, options: Sequence[str]) -> None:
    given = dict(option.lstrip("-").split("=", 1) for option in options)
    chance = random.Random(int(given["seed"]))
    until = time.monotonic() + int(given["max_total_time"])
    check, examples, done = target.make(), [*target.examples(), b""], 0
    while time.monotonic() < until:
        data = bytearray(chance.choice(examples))
        for _ in range(chance.randrange(8)):
            at = chance.randrange(len(data) + 1)
            data[at : at + chance.randrange(9)] = chance.randbytes(chance.randrange(9))
        check(bytes(data[: int(given["max_len"])]))
        done += 1
    print(f"stat::number_of_executed_units: {done}", file=sys.stderr)


if __name__ == "__main__":
    main(sys.argv[1:])
