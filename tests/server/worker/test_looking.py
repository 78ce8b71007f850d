"""The look at a program before its start reports exactly the error that the start itself would have raised."""

from __future__ import annotations

import ast
import errno
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from farhand_server.credentials import Credentials
from farhand_server.worker.looking import look_up, open_start, starting_directory
from farhand_server.worker.messages import LookedUp, LookUp, OpenStart, StartOpened, StartWorker
from farhand_server.worker.spawner import become
from tests.support.processes import own_descriptors

T = TypeVar("T")

NOBODY = Credentials("nobody", 65534, 65534, (65534,))
WHO = [
    pytest.param(None, id="the service"),
    pytest.param(NOBODY, id="another user", marks=pytest.mark.needs("root")),
]


def as_user(credentials: Credentials | None, act: Callable[[], T]) -> T:
    """Return what `act` returns in a process of the user."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            if credentials is not None:
                become(StartWorker(credentials.uid, credentials.gid, credentials.groups))
            os.write(writing, repr(act()).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading, "rb") as told:  # noqa: PTH123  # a descriptor, not a path
        result: T = ast.literal_eval(told.read().decode())
    os.waitpid(child, 0)
    return result


def truth(program: bytes, env: dict[bytes, bytes], cwd: bytes, credentials: Credentials | None) -> tuple[int, bool]:
    """Start the program as the user; return the errno, 0 for none, and whether it concerns the directory."""
    return as_user(credentials, lambda: _start(program, env, cwd))


def _start(program: bytes, env: dict[bytes, bytes], cwd: bytes) -> tuple[int, bool]:
    try:
        with subprocess.Popen([program], env=env, cwd=cwd, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL):
            return 0, False
    except OSError as error:
        return error.errno or -1, os.fsencode(error.filename) == cwd != program


def found(program: bytes, env: dict[bytes, bytes], cwd: bytes, credentials: Credentials | None) -> tuple[int, bool]:
    """Return what a worker of the user finds, in the same form as `truth`."""
    question = OpenStart(program, env.get(b"PATH", os.fsencode(os.defpath)), cwd, b"")

    def look() -> tuple[int, bool]:
        answer, _ = open_start(question)
        return answer.errno, bool(answer.at_directory) and cwd != program

    return as_user(credentials, look)


@pytest.fixture(scope="module")
def files() -> Iterator[Path]:
    """A directory of programs that can and that cannot be started."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        directory.chmod(0o755)

        def program(name: str, text: str | bytes = "#!/bin/true\n", mode: int = 0o755) -> None:
            (directory / name).write_bytes(text.encode() if isinstance(text, str) else text)
            (directory / name).chmod(mode)

        program("good")
        program("elf", Path("/usr/bin/true").read_bytes())
        program("elf-unreadable", Path("/usr/bin/true").read_bytes(), 0o711)
        program("mine-alone", mode=0o700)
        program("elf-for-group", Path("/usr/bin/true").read_bytes(), 0o710)
        program("plain", mode=0o644)
        program("no-format", "echo no\n")
        program("empty", "")
        program("no-interpreter", "#!/does/not/exist\n")
        program("plain-interpreter", f"#!{name}/plain\n")
        program("interpreter-is-directory", "#!/bin\n")
        program("nothing-after", "#!\n")
        program("blanks-after", "#! \t\n")
        program("blanks-before", "#! \t/bin/true\t-x \n")
        program("no-newline", "#!/bin/true")
        program("nul-after", b"#!/bin/true\0rest\n")
        program("too-long", "#!/" + "x" * 300 + "\n")
        program("long-argument", "#!/bin/true " + "x" * 300 + "\n")
        program("relative-interpreter", "#!elf\n")
        program("self", f"#!{name}/self\n")
        program("chain0", "#!/bin/true\n")
        for number in range(1, 7):
            program(f"chain{number}", f"#!{name}/chain{number - 1}\n")
        (directory / "directory").mkdir()
        (directory / "closed").mkdir(mode=0o700)
        (directory / "closed/good").symlink_to("../good")
        (directory / "no-search").mkdir(mode=0o744)
        (directory / "loop").symlink_to("loop")
        (directory / "dangling").symlink_to("nothing")
        (directory / "link").symlink_to("good")
        (directory / "to-closed").symlink_to("closed/good")
        os.mkfifo(directory / "fifo", 0o777)
        yield directory


PROGRAMS = [
    *("good", "elf", "elf-unreadable", "mine-alone", "elf-for-group", "plain", "no-format", "empty", "no-interpreter"),
    *("plain-interpreter", "interpreter-is-directory", "nothing-after", "blanks-after", "blanks-before"),
    *("no-newline", "nul-after", "too-long", "long-argument", "relative-interpreter", "self", "chain4", "chain5"),
    *("chain6", "directory", "closed/good", "loop", "dangling", "link", "to-closed", "fifo", "nothing", "good/below"),
    *("x" * 300, "x/" * 3000),
]


@pytest.mark.parametrize("credentials", WHO)
@pytest.mark.parametrize("name", PROGRAMS, ids=lambda name: name[:30])
def test_a_path_is_judged_as_execve_would(files: Path, name: str, credentials: Credentials | None) -> None:
    cwd = os.fsencode(files)
    for program in (b"./" + name.encode(), cwd + b"/" + name.encode()):
        case = (program, {b"PATH": b"/bin"}, cwd, credentials)
        assert found(*case) == truth(*case)


@pytest.mark.parametrize("credentials", WHO)
@pytest.mark.parametrize("name", ["", "good", "elf", "plain", "no-format", "nothing", "directory", "x" * 300, "true"])
@pytest.mark.parametrize(
    "path",
    [
        "{}",
        "",
        ":/bin",
        "/bin:{}",
        "{}/closed:{}",
        "{}/plain:/bin",
        "/nowhere",
        "{}/nowhere:{}/good",
        "directory:.",
        None,
    ],
)
def test_a_name_is_searched_for_in_the_path_as_execvp_does(
    files: Path, name: str, path: str | None, credentials: Credentials | None
) -> None:
    env = {} if path is None else {b"PATH": path.replace("{}", str(files)).encode()}
    case = (name.encode(), env, os.fsencode(files), credentials)
    assert found(*case) == truth(*case)


@pytest.mark.parametrize("credentials", WHO)
@pytest.mark.parametrize(
    "name",
    ["directory", "closed", "no-search", "closed/below", "nothing", "good", "good/below", "loop", "link", "x" * 300],
)
@pytest.mark.parametrize("program", [b"true", b"nothing", b"../good"])
def test_a_working_directory_is_judged_as_a_start_would(
    files: Path, name: str, program: bytes, credentials: Credentials | None
) -> None:
    case = (program, {b"PATH": b"/bin"}, os.fsencode(files / name), credentials)
    assert found(*case) == truth(*case)


def test_an_error_of_the_directory_is_told_from_one_of_the_program_with_the_same_name(files: Path) -> None:
    place = os.fsencode(files / "nothing")
    assert open_start(OpenStart(place, b"", place, b"")) == (StartOpened(errno.ENOENT, 1, place, b""), None)


@pytest.mark.needs("root")
def test_the_rights_of_the_group_count(files: Path) -> None:
    in_group = Credentials("nobody", 65534, 65534, (65534, 0))
    cwd = os.fsencode(files)
    for who, answer in ((in_group, 0), (NOBODY, errno.EACCES)):
        assert found(b"./elf-for-group", {}, cwd, who) == truth(b"./elf-for-group", {}, cwd, who) == (answer, False)


def test_a_look_leaves_only_the_directory_open(files: Path) -> None:
    before = own_descriptors()
    for program, cwd in [
        *((b"./" + name.encode(), "") for name in PROGRAMS),
        (b"true", "no-search"),
        (b"true", "gone"),
    ]:
        _, directory = open_start(OpenStart(program, b"/bin", os.fsencode(files / cwd), b""))
        if directory is not None:
            os.close(directory)
    assert own_descriptors() == before


# What the policy asks


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Create programs `bin/tool` and `other/tool`, links `bin/alias` to one and `link` to `bin`, and a file `data`."""
    tmp_path = Path(os.path.realpath(tmp_path))
    for directory in ("bin", "other", "empty", "bin/dir"):
        (tmp_path / directory).mkdir()
    for name, mode in (("bin/tool", 0o755), ("other/tool", 0o755), ("bin/data", 0o644)):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(mode)
    (tmp_path / "bin/alias").symlink_to("tool")
    (tmp_path / "bin/loop").symlink_to("loop")
    (tmp_path / "link").symlink_to("bin")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "path", "found"),
    [
        ("tool", "{}/empty:{}/bin:{}/other", "bin/tool"),
        ("tool", "{}/other:{}/bin", "other/tool"),
        ("tool", "{}/link", "bin/tool"),
        ("tool", "bin", "bin/tool"),
        ("tool", "", None),
        ("tool", "{}/gone:{}/bin/tool", None),
        ("bin/tool", "{}/other", "bin/tool"),
        ("./link/../link/tool", "", "bin/tool"),
        ("{}/link/tool", "", "bin/tool"),
        ("alias", "{}/bin", "bin/alias"),
        ("{}/link/alias", "", "bin/alias"),
        ("data", "{}/bin", None),
        ("dir", "{}/bin", None),
        ("loop", "{}/bin", None),
        ("bin/tool/", "", None),
        ("bin/tool/..", "", None),
        ("", "{}/bin", None),
        ("x" * 5000, "{}/bin", None),
    ],
)
def test_a_program_is_found_as_by_execvp(tree: Path, name: str, path: str, found: str | None) -> None:
    place = program(name.replace("{}", str(tree)), path=path.replace("{}", str(tree)), cwd=tree)
    assert place == (None if found is None else bytes(tree / found))


def test_an_empty_entry_of_path_is_the_working_directory(tree: Path) -> None:
    assert program("tool", path=":/gone", cwd=tree / "bin") == bytes(tree / "bin/tool")


def test_a_program_in_the_root_directory_has_one_slash() -> None:
    assert program("/../bin/sh", path="", cwd=Path("/")) == os.path.realpath(b"/bin") + b"/sh"


def test_symbolic_links_of_a_directory_are_resolved_even_if_it_is_missing(tree: Path) -> None:
    asked = (bytes(tree / "link" / ".." / "bin" / "dir"), bytes(tree / "link" / "gone"), b"link")
    answer = look_up(LookUp(b"", b"", bytes(tree / "link"), b"", asked))
    assert answer == LookedUp(
        b"", tuple(map(bytes, (tree / "bin", tree / "bin/dir", tree / "bin/gone", tree / "bin/link")))
    )


@pytest.mark.parametrize(
    ("home", "cwd", "place"),
    [
        ("bin", "bin", "bin"),
        ("bin", "bin/dir", "bin/dir"),
        ("gone", "gone", "/"),
        ("gone", "gone/etc", "/etc"),
        ("gone", "gone2", "gone2"),
        ("bin/tool", "bin/tool/etc", "/etc"),
        ("", "bin", "bin"),
    ],
)
def test_a_home_that_cannot_be_entered_is_replaced_by_the_root_directory(
    tree: Path, home: str, cwd: str, place: str
) -> None:
    given = b"" if not home else bytes(tree / home)
    assert starting_directory(bytes(tree / cwd), given) == bytes(tree / place)


def program(name: str, *, path: str, cwd: Path) -> bytes | None:
    return look_up(LookUp(name.encode(), path.encode(), bytes(cwd), b"", ())).program or None


@pytest.mark.needs("root")
def test_a_program_that_the_user_cannot_access_is_skipped(tree: Path) -> None:
    for directory in (*tree.parents, tree):
        if directory.stat().st_uid == 0 and not directory.stat().st_mode & 0o001:
            directory.chmod(0o711)
    (tree / "bin").chmod(0o700)
    question = LookUp(b"tool", f"{tree}/bin:{tree}/other".encode(), b"/", b"", ())
    assert as_user(NOBODY, lambda: look_up(question).program) == os.fsencode(tree / "other/tool")
    assert look_up(question).program == os.fsencode(tree / "bin/tool")
