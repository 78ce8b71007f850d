"""A transfer worker agrees with the client on what was allowed, says what is wrong, and reports what it has done."""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from farhand_files import wire
from farhand_files.events import Totals, Trouble
from farhand_files.opening import Area
from farhand_files.options import TransferOptions
from farhand_files.receiver import Receiver
from farhand_files.rows import Happened
from farhand_files.sender import Sender
from farhand_files.stream import StreamEnded
from farhand_server.files.order import TransferOrder
from farhand_server.files.worker import load_what_others_cannot
from farhand_server.programs.order_file import RunIds
from farhand_server.programs.start import OWN_PIPE_SIZE
from tests.support.transfer_workers import StartedWorker, transfer_worker

Start = Callable[[TransferOrder], StartedWorker]
SIZE = 3 * wire.CHUNK + 17


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts workers, which are killed at the end of the test."""
    with ExitStack() as started:
        yield lambda order: started.enter_context(transfer_worker(order))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path / "home"
    home.mkdir()
    (home / "file").write_bytes(os.urandom(SIZE))
    (home / "notes").mkdir()
    (home / "notes" / "a.txt").write_bytes(b"a")
    (home / "notes" / "b.txt").write_bytes(b"b")
    return home


def order(home: Path, access: str, *paths: bytes, roots: tuple[Path, ...] | None = None) -> TransferOrder:
    within = None if roots is None else tuple(map(os.fsencode, roots))
    return TransferOrder("read" if access == "read" else "write", paths, os.fsencode(home), within, None)


def nothing(event: Happened) -> None:
    del event


def get(worker: StartedWorker, options: TransferOptions, to: Path) -> Totals:
    assert isinstance(worker.offer(options), wire.ReadyFrame)
    return Receiver(os.fsencode(to), options, Area(None, b"/"), worker, nothing).run()


def put(worker: StartedWorker, options: TransferOptions, *sources: Path) -> Totals:
    assert isinstance(worker.offer(options), wire.ReadyFrame)
    return Sender([os.fsencode(each) for each in sources], options, Area(None, b"/"), worker, nothing).run()


@pytest.mark.parametrize("path", [b"file", b"./file", b"~/file", b"fi*"])
def test_a_file_is_read_from_the_home(start: Start, home: Path, tmp_path: Path, path: bytes) -> None:
    worker = start(order(home, "read", path))
    totals = get(worker, TransferOptions("get", (path,)), tmp_path / "copy")
    assert (worker.wait(), worker.stderr) == (0, b"")
    assert (tmp_path / "copy").read_bytes() == (home / "file").read_bytes()
    report = worker.report()
    assert (report.complete, report.files, report.size, report.digest) == (True, 1, SIZE, totals.digest)


def test_a_file_is_written_below_the_home(start: Start, home: Path) -> None:
    worker = start(order(home, "write", b"copy"))
    totals = put(worker, TransferOptions("put", (b"copy",)), home / "file")
    assert (worker.wait(), worker.stderr) == (0, b"")
    assert (home / "copy").read_bytes() == (home / "file").read_bytes()
    report = worker.report()
    assert (report.complete, report.files, report.size, report.digest) == (True, 1, SIZE, totals.digest)


def test_what_cannot_be_read_is_said_and_the_rest_goes_on(start: Start, home: Path, tmp_path: Path) -> None:
    paths = (b"missing", b"notes")
    worker = start(order(home, "read", *paths))
    totals = get(worker, TransferOptions("get", paths), tmp_path / "copy")
    assert (totals.files, totals.failed) == (2, 1)
    assert (worker.wait(), worker.stderr) == (1, b"")
    assert (worker.report().files, worker.report().failed) == (2, 1)


@pytest.mark.parametrize(
    "options",
    [
        TransferOptions("put", (b"file",)),
        TransferOptions("get", (b"/etc/passwd",)),
        TransferOptions("get", (b"file", b"/etc/passwd")),
        TransferOptions("get", ()),
    ],
)
def test_only_what_the_policy_has_judged_is_done(start: Start, home: Path, options: TransferOptions) -> None:
    worker = start(order(home, "read", b"file"))
    said = worker.offer(options)
    assert isinstance(said, wire.Problem)
    assert b"which the policy has judged" in said.sentence
    assert worker.totals().failed == 1
    assert (worker.wait(), worker.stderr) == (2, b"")
    assert worker.report().failed == 1


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (b"{", b"not JSON"),
        (b"[]", b"not a JSON object"),
        (b'{"operation":"get","paths":["file"],"colour":1}', b"knows no option 'colour'"),
        (b'{"operation":"get","paths":["file"],"excludes":["[[:alpha:]]"]}', b"class of characters"),
    ],
)
def test_options_that_it_does_not_serve_are_refused(start: Start, home: Path, text: bytes, sentence: bytes) -> None:
    worker = start(order(home, "read", b"file"))
    worker.send(wire.OptionsFrame(text))
    said = worker.receive()
    assert isinstance(said, wire.Problem)
    assert sentence in said.sentence
    assert worker.totals().failed == 1
    assert (worker.wait(), worker.stderr) == (2, b"")


def test_a_client_that_breaks_the_rules_or_says_nothing_is_no_bug_of_the_worker(start: Start, home: Path) -> None:
    early = start(order(home, "read", b"file"))
    early.send(wire.Finish())
    assert isinstance(early.receive(), wire.Problem)
    assert (early.wait(), early.stderr) == (1, b"")
    rude = start(order(home, "read", b"file"))
    rude.write(b"GET / HTTP/1.1\r\n\r\n")
    assert isinstance(rude.receive(), wire.Problem)
    assert (rude.wait(), rude.stderr) == (1, b"")
    silent = start(order(home, "read", b"file"))
    assert (silent.wait(), silent.stderr) == (1, b"")


ESCAPES = ("link/x", "etc/../../outside/x", "../outside/x", "deep", "proc/self/root{outside}/x", "fd/x")


@pytest.mark.parametrize("escape", ESCAPES)
@pytest.mark.parametrize("access", ["read", "write"])
def test_nothing_outside_of_the_roots_is_opened(
    start: Start, home: Path, tmp_path: Path, access: str, escape: str
) -> None:
    outside, root = tmp_path / "outside", tmp_path / "root"
    outside.mkdir()
    (outside / "x").write_bytes(b"old")
    (root / "etc").mkdir(parents=True)
    (root / "link").symlink_to(outside)
    (root / "deep").symlink_to(outside / "x")
    (root / "proc").symlink_to("/proc")
    (root / "fd").symlink_to(f"/proc/self/root{outside}")
    path = os.fsencode(root / escape.format(outside=outside))
    worker = start(order(home, access, path, roots=(root,)))
    if access == "read":
        totals = get(worker, TransferOptions("get", (path,)), tmp_path / "copy")
        assert not (tmp_path / "copy").exists()
    else:
        (home / "new").write_bytes(b"new")
        totals = put(worker, TransferOptions("put", (path,)), home / "new")
        assert (outside / "x").read_bytes() == b"old"
        assert [each.name for each in outside.iterdir()] == ["x"]
    assert totals.files == 0
    assert totals.failed
    assert (worker.wait(), worker.stderr) == (1, b"")


def test_a_link_that_was_put_where_a_root_is_leads_nowhere(start: Start, tmp_path: Path) -> None:
    incoming = tmp_path / "incoming"
    incoming.mkdir()
    (tmp_path / "secret").write_bytes(b"secret")
    (incoming / "logs").symlink_to(tmp_path)
    path, above = os.fsencode(incoming / "logs" / "secret"), os.fsencode(incoming)
    allowed = order(tmp_path, "read", path, roots=(incoming / "logs",))._replace(writable=(above,))
    worker = start(allowed)
    totals = get(worker, TransferOptions("get", (path,)), tmp_path / "copy")
    assert (totals.files, totals.failed, worker.wait()) == (0, 1, 1)
    assert not (tmp_path / "copy").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_worker_that_is_stopped_leaves_no_half_file_and_ends_by_the_signal(
    start: Start, home: Path, number: signal.Signals
) -> None:
    worker = start(order(home, "write", b"copy"))
    options = TransferOptions("put", (b"copy",))
    assert isinstance(worker.offer(options), wire.ReadyFrame)
    worker.send(wire.Entry(0, wire.REGULAR, 0o644, 0, 0, 0, SIZE, b"copy"))
    assert isinstance(worker.receive(), wire.Want)
    worker.send(wire.Data(0, 0, b"x" * 1000))
    worker.process.send_signal(number)
    assert (worker.process.wait(30), worker.stderr) == (-number, b"")
    assert sorted(each.name for each in home.iterdir()) == ["file", "notes"]
    assert not worker.report().complete


def test_an_interrupt_before_the_options_ends_it_without_a_word(start: Start, home: Path) -> None:
    worker = start(order(home, "write", b"copy"))
    assert worker.process.stdin is not None
    while fcntl.fcntl(worker.process.stdin, fcntl.F_GETPIPE_SZ) < OWN_PIPE_SIZE:  # what it does first
        assert worker.process.poll() is None
        time.sleep(0.001)
    worker.process.send_signal(signal.SIGINT)
    assert (worker.process.wait(30), worker.stderr) == (-signal.SIGINT, b"")


def test_what_was_done_is_known_after_a_kill(start: Start, home: Path, tmp_path: Path) -> None:
    paths = (b"notes", b"file")
    worker = start(order(home, "read", *paths))
    options = TransferOptions("get", paths, into=True)
    assert isinstance(worker.offer(options), wire.ReadyFrame)
    finished = threading.Event()

    def happened(event: Happened) -> None:
        if getattr(event, "path", b"") == b"notes/b.txt" and type(event).__name__ == "Finished":
            worker.process.kill()
            finished.set()

    with pytest.raises(Exception):  # noqa: B017, PT011  # the stream ends, or cannot be written any more
        Receiver(os.fsencode(tmp_path / "copy"), options, Area(None, b"/"), worker, happened).run()
    assert finished.is_set()
    assert worker.process.wait(30) == -signal.SIGKILL
    assert not worker.report().complete
    assert worker.report().files <= 3


@pytest.mark.parametrize(
    ("failure", "code", "said"),
    [
        ("MemoryError()", 1, b"farhandd: a limit on memory or processes is too low for a transfer\n"),
        ("RuntimeError('cannot start a thread')", 1, b"farhandd: a limit on memory or processes is too low"),
        ("OSError(5, 'Input/output error')", 1, b"farhandd: Input/output error\n"),
        ("worker.wire.WireError('no')", 1, b"farhandd: the client has sent what no transfer allows: no\n"),
        ("worker.StreamEnded()", 1, b""),
        ("RuntimeError('a bug')", 70, b"RuntimeError: a bug"),
        ("KeyError('a bug')", 70, b"KeyError: 'a bug'"),
    ],
)
def test_what_ends_a_transfer_in_the_middle_is_said_on_stderr(home: Path, failure: str, code: int, said: bytes) -> None:
    broken = f"{{'run': lambda self: (_ for _ in ()).throw({failure}), 'cancel': lambda self: None}}"
    change = f"worker.mover_of = lambda access: lambda *others: type('Broken', (), {broken})()"
    with transfer_worker(order(home, "read", b"file"), change) as worker:
        assert isinstance(worker.offer(TransferOptions("get", (b"file",))), wire.ReadyFrame)
        assert worker.process.wait(30) == code
        assert said in worker.stderr
        with pytest.raises(StreamEnded):
            worker.receive()


def test_a_limit_on_the_size_of_files_is_an_error_that_names_the_file(start: Start, home: Path) -> None:
    worker = start(order(home, "write", b"copy"))
    options = TransferOptions("put", (b"copy",))
    assert isinstance(worker.offer(options), wire.ReadyFrame)
    resource.prlimit(worker.process.pid, resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
    happened: list[Happened] = []
    source = os.fsencode(home / "file")
    totals = Sender([source], options, Area(None, b"/"), worker, happened.append).run()
    assert (totals.files, totals.failed) == (0, 1)
    [trouble] = [event for event in happened if isinstance(event, Trouble)]
    assert (trouble.errno, trouble.remote) == (errno.EFBIG, True)
    assert (worker.wait(), worker.stderr) == (1, b"")
    assert sorted(each.name for each in home.iterdir() if not each.name.startswith(".farhand-")) == ["file", "notes"]


def test_others_of_its_user_cannot_look_into_it(start: Start, home: Path) -> None:
    worker = start(order(home, "read", b"file"))
    assert isinstance(worker.offer(TransferOptions("get", (b"file",))), wire.ReadyFrame)
    status = Path(f"/proc/{worker.process.pid}/status").read_text()
    assert "NoNewPrivs:\t1" in status
    assert Path(f"/proc/{worker.process.pid}/environ").stat().st_uid == 0


@pytest.mark.needs("root")
def test_a_worker_of_root_s_service_becomes_the_user_before_it_opens_anything(
    start: Start, home: Path, tmp_path: Path
) -> None:
    """Also the modules that a transfer only sometimes needs are loaded if the user cannot read them."""
    for directory in (home, home.parent, *home.parents):
        if directory.stat().st_uid == os.getuid():
            directory.chmod(0o755)
    (home / "secret").write_bytes(b"x")
    (home / "secret").chmod(0o600)
    made = order(home, "read", b"secret", b"notes")._replace(user=RunIds(61_001, 61_002, (61_003,)))
    worker = start(made)
    options = TransferOptions("get", made.paths, into=True, excludes=("*.o",), delta=True)
    assert isinstance(worker.offer(options), wire.ReadyFrame)
    status = dict(
        line.split(":\t")
        for line in Path(f"/proc/{worker.process.pid}/status").read_text().splitlines()
        if ":\t" in line
    )
    assert (status["Uid"].split(), status["Gid"].split()) == (["61001"] * 4, ["61002"] * 4)
    assert (status["Groups"].split(), int(status["CapEff"], 16), int(status["CapInh"], 16)) == (["61003"], 0, 0)
    assert status["Umask"].strip() == "0022"
    totals = Receiver(os.fsencode(tmp_path / "copy"), options, Area(None, b"/"), worker, nothing).run()
    assert (totals.files, totals.failed) == (2, 1)
    assert worker.wait() == 1


def test_only_root_gives_files_away(start: Start, home: Path) -> None:
    if os.geteuid() == 0:
        for each in (home, *home.parents):
            if each.stat().st_uid == 0 and each != Path("/"):
                each.chmod(0o755)
    made = order(home, "write", b"copy")
    if os.geteuid() == 0:
        made = made._replace(user=RunIds(61_001, 61_001, ()))
    worker = start(made)
    said = worker.offer(TransferOptions("put", (b"copy",), owner="ada"))
    assert isinstance(said, wire.Problem)
    assert said.sentence == b"only root can give files to another owner (ada)"
    assert (worker.wait(), worker.stderr) == (2, b"")


def test_an_installation_that_not_everybody_can_read_is_loaded_before(tmp_path: Path) -> None:
    hidden = tmp_path / "hidden"
    hidden.mkdir(mode=0o700)
    show = (
        "import sys; from farhand_server.files.worker import load_what_others_cannot as load; "
        "load(sys.argv[1:]); print('pathspec' in sys.modules)"
    )
    for directories, loaded in ((["/", "/usr/lib"], "False"), (["/", str(hidden)], "True"), (["/nowhere"], "False")):
        done = subprocess.run([sys.executable, "-c", show, *directories], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == loaded
    load_what_others_cannot(["/usr"])
