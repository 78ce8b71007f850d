"""The check before a start reports exactly the error that the start itself would have raised."""

from __future__ import annotations

import ast
import errno
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from farhand_server.credentials import Credentials
from farhand_server.runs.process.check import checked

NOBODY = Credentials("nobody", 65534, 65534, (65534,))
WHO = [
    pytest.param(None, id="the service"),
    pytest.param(NOBODY, id="another user", marks=pytest.mark.needs("root")),
]


def truth(program: bytes, env: dict[bytes, bytes], cwd: bytes, credentials: Credentials | None) -> tuple[int, bool]:
    """Start the program as the user; return the errno, 0 for none, and whether it concerns the directory."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            if credentials is not None:
                os.setgroups(credentials.groups)
                os.setresgid(*[credentials.gid] * 3)
                os.setresuid(*[credentials.uid] * 3)
            os.write(writing, repr(_start(program, env, cwd)).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading, "rb") as answer:  # noqa: PTH123  # a descriptor, not a path
        number, at_directory = ast.literal_eval(answer.read().decode())
    os.waitpid(child, 0)
    return number, at_directory


def _start(program: bytes, env: dict[bytes, bytes], cwd: bytes) -> tuple[int, bool]:
    try:
        with subprocess.Popen([program], env=env, cwd=cwd, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL):
            return 0, False
    except OSError as error:
        return error.errno or -1, os.fsencode(error.filename) == cwd != program


def found(program: bytes, env: dict[bytes, bytes], cwd: bytes, credentials: Credentials | None) -> tuple[int, bool]:
    """Return what the check before the start finds, in the same form as `truth`."""
    try:
        with checked(program, env=env, cwd=cwd, credentials=credentials):
            pass
    except OSError as error:
        return error.errno or -1, os.fsencode(error.filename) == cwd != program
    return 0, False


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


def test_the_error_names_the_directory_if_it_is_named_like_the_program(files: Path) -> None:
    place = os.fsencode(files / "nothing")
    with pytest.raises(FileNotFoundError) as raised, checked(place, env={}, cwd=place, credentials=None):
        pass
    assert raised.value.filename == place


@pytest.mark.needs("root")
def test_the_rights_of_the_group_count(files: Path) -> None:
    in_group = Credentials("nobody", 65534, 65534, (65534, 0))
    cwd = os.fsencode(files)
    for who, answer in ((in_group, 0), (NOBODY, errno.EACCES)):
        assert found(b"./elf-for-group", {}, cwd, who) == truth(b"./elf-for-group", {}, cwd, who) == (answer, False)


def test_a_check_leaves_no_descriptor_open(files: Path) -> None:
    before = os.listdir("/proc/self/fd")  # noqa: PTH208  # names are enough
    for name in PROGRAMS:
        found(b"./" + name.encode(), {}, os.fsencode(files), None)
    found(b"true", {}, os.fsencode(files / "no-search"), None)
    found(b"true", {}, os.fsencode(files / "nothing"), None)
    assert os.listdir("/proc/self/fd") == before  # noqa: PTH208
