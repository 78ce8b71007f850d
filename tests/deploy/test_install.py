"""deploy/install installs and updates everything, and uninstalls it without touching the user's files."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from farhand_server.config import load
from tests.deploy.conftest import DEPLOY, Installation, install, offline

# An installation creates a virtual environment and installs into it.
pytestmark = pytest.mark.timeout(300)

EXAMPLE = DEPLOY.parent / "server/farhand_server/config/farhandd.toml"

UNITS = {
    "farhandd.service",
    "farhand-edge.service",
    "farhand-edge.socket",
    "farhand-host-key.service",
    "farhand-web.service",
    "farhand-web.socket",
}


def refuse(*arguments: str, **environ: str) -> str:
    result = subprocess.run(
        [DEPLOY / "install", *arguments],
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    return result.stderr


def test_programs_units_account_and_configuration_are_in_their_places(installation: Installation) -> None:
    local = installation.root / "usr/local"
    assert (local / "bin/farhand").resolve() == installation.program / "bin/farhand"
    assert (local / "bin/farhandd").resolve() == installation.program / "bin/farhandd"
    assert {unit.name for unit in (local / "lib/systemd/system").iterdir()} == UNITS
    assert (local / "lib/sysusers.d/farhand.conf").is_file()
    assert (local / "lib/tmpfiles.d/farhand.conf").is_file()
    assert (installation.root / "etc/farhand/farhandd.toml").is_file()


def test_programs_name_the_interpreter_at_its_final_place(installation: Installation) -> None:
    for name in ("farhand-full", "farhandd"):
        first = (installation.program / "bin" / name).read_text().splitlines()[0]
        assert first == "#!/usr/local/lib/farhand/bin/python"


@pytest.mark.needs("cc")
def test_the_front_is_native_and_executes_the_full_program_beside_it(installation: Installation) -> None:
    front = installation.program / "bin/farhand"
    assert front.read_bytes()[:4] == b"\x7fELF"
    full = front.with_name("farhand-full")
    named = full.read_text()
    try:  # as if the tree were at its final place
        full.write_text(named.replace("#!/usr/local/lib/farhand", f"#!{installation.program}", 1))
        done = subprocess.run([front, "--version"], capture_output=True, text=True, check=True)
    finally:
        full.write_text(named)
    assert done.stdout.startswith("farhand ")


def test_the_installed_program_is_a_copy_of_the_project(installation: Installation) -> None:
    result = subprocess.run(
        [installation.program / "bin/python", "-c", "import farhand_server as s; print(s.__file__)"],
        capture_output=True,
        text=True,
        check=True,
        cwd="/",
    )
    assert Path(result.stdout).is_relative_to(installation.program)


def test_every_module_is_compiled(installation: Installation) -> None:
    """The accounts of the service cannot write byte code, and would compile the sources at each start."""
    [packages] = installation.program.glob("lib/python*/site-packages")
    ours = ("farhand_server", "farhand_protocol", "farhand_files", "farhand_client")
    for package in (*ours, "pydantic", "cryptography"):
        for source in (packages / package).rglob("*.py"):
            compiled = list((source.parent / "__pycache__").glob(f"{source.stem}.*.pyc"))
            assert compiled, source
            header = compiled[0].read_bytes()[:12]
            assert int.from_bytes(header[8:12], "little") == int(source.stat().st_mtime), source


def test_the_configuration_admits_the_edges_account(installation: Installation) -> None:
    text = (installation.root / "etc/farhand/farhandd.toml").read_text()
    assert text.splitlines().count('account = "farhand-edge"') == 1
    assert text.replace("\naccount = ", "\n#account = ") == EXAMPLE.read_text()


def test_the_output_says_what_is_installed_where(installation: Installation) -> None:
    for place in ("usr/local/lib/farhand", "usr/local/lib/systemd/system", "etc/farhand/farhandd.toml"):
        assert str(installation.root / place) in installation.output


@pytest.fixture
def in_use(installation: Installation, tmp_path: Path) -> Path:
    """A copy of the installation with a host key and a configuration of the user's."""
    root = tmp_path / "root"
    shutil.copytree(installation.root, root, symlinks=True)
    (root / "etc/farhand/farhandd.toml").write_text("# mine\n")
    key = root / "var/lib/farhand/host_key"
    key.parent.mkdir(parents=True)
    key.touch()
    return root


def test_uninstalling_leaves_configuration_and_host_key(in_use: Path) -> None:
    reported = install(in_use, "--uninstall")
    assert "left in place" in reported
    config = in_use / "etc/farhand/farhandd.toml"
    assert str(config.parent) in reported
    assert {path for path in in_use.rglob("*") if not path.is_dir()} == {config, in_use / "var/lib/farhand/host_key"}
    install(in_use, "--uninstall")


@pytest.mark.long
def test_installing_again_updates_the_program_and_keeps_the_configuration(in_use: Path, wheels: Path) -> None:
    [module] = in_use.glob("usr/local/lib/farhand/lib/python*/site-packages/farhand_server/__init__.py")
    module.write_text("an older version\n")
    reported = install(in_use, **offline(wheels))
    config = in_use / "etc/farhand/farhandd.toml"
    assert f"keeping {config}" in reported
    assert config.read_text() == "# mine\n"
    assert module.read_text() != "an older version\n"


def test_the_installed_configuration_is_valid(installation: Installation, tmp_path: Path) -> None:
    text = (installation.root / "etc/farhand/farhandd.toml").read_text()
    file = tmp_path / "farhandd.toml"
    file.write_text(text.replace('"farhand-edge"', '"nobody"'))  # the account is created on a real installation
    load(file)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--prefix"], "--prefix needs a value"),
        (["--prefix", "here"], "--prefix must be an absolute path, not 'here'"),
        (["--prefix", "/"], "--prefix must be an absolute path, not '/'"),
        (["--prefix", "/a b"], "'/a b' has characters with a special meaning in unit files"),
        (["--prefix=/a%b"], "'/a%b' has characters with a special meaning in unit files"),
        (["--frob"], "unknown argument '--frob'"),
        (["--user", "--prefix", "here"], "--prefix must be an absolute path, not 'here'"),
    ],
)
def test_unknown_arguments_are_refused(arguments: list[str], sentence: str, tmp_path: Path) -> None:
    assert sentence in refuse(*arguments, DESTDIR=str(tmp_path))
    assert not list(tmp_path.iterdir())


def test_a_python_that_the_edge_could_not_reach_is_refused(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho /home/somebody/.pyenv/bin/python3\n")
    python.chmod(0o755)
    reported = refuse("--python", str(python), DESTDIR=str(tmp_path / "root"))
    assert "is in a home directory, which the edge's account cannot read" in reported


def test_uninstalling_for_an_account_removes_the_commands_and_nothing_else(tmp_path: Path) -> None:
    for name in ("lib/farhand/bin/farhand", "bin/farhand", "bin/farhandd", "bin/other", "share/farhand/keep"):
        (tmp_path / ".local" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / ".local" / name).touch()
    subprocess.run(
        [DEPLOY / "install", "--user", "--uninstall"],
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
        capture_output=True,
        check=True,
    )
    left = {str(path.relative_to(tmp_path / ".local")) for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {"bin/other", "share/farhand/keep"}
