"""The configuration: its defaults, where its file is found, which errors are reported, and writing it as TOML."""

import contextlib
import os
import pwd
import re
from collections.abc import Callable
from math import inf
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farhand_server.config import ConfigError, ListenAddress, ServiceConfig, effective_toml, find_file, load

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(text: str) -> Path:
        file = tmp_path / "farhandd.toml"
        file.write_text(text)
        return file

    return write


def default_config(tmp_path: Path, **environ: str) -> ServiceConfig:
    """Return the configuration of an ordinary user without a configuration file."""
    return load(environ={"HOME": str(tmp_path), **environ}, uid=1000)


def sentences(file: Path, **overrides: str | list[str]) -> list[str]:
    with pytest.raises(ConfigError) as refusal:
        load(file, overrides=overrides)
    return [re.sub(f"^{re.escape(str(file))}(:[0-9]+)?: ", "", line) for line in str(refusal.value).splitlines()]


class TestDirectories:
    def test_an_ordinary_user_needs_no_file_and_no_variable(self, tmp_path: Path) -> None:
        config = default_config(tmp_path)
        assert config.state_dir == tmp_path / ".local/state/farhand"
        assert config.login.authorized_keys == (tmp_path / ".config/farhand/authorized_keys",)
        assert config.listen == ()

    def test_without_a_runtime_directory_sockets_are_in_the_state_directory(self, tmp_path: Path) -> None:
        config = default_config(tmp_path)
        assert config.socket == tmp_path / ".local/state/farhand/farhandd.sock"
        assert config.edge.socket == tmp_path / ".local/state/farhand/edge.sock"

    def test_without_a_runtime_directory_sockets_follow_the_configured_state_directory(self, tmp_path: Path) -> None:
        config = load(overrides={"state_dir": "/s"}, environ={"HOME": str(tmp_path)}, uid=1000)
        assert config.socket == Path("/s/farhandd.sock")

    @pytest.mark.parametrize("uid", [0, 1000])
    def test_xdg_variables_are_obeyed(self, tmp_path: Path, uid: int) -> None:
        variables = {"XDG_CONFIG_HOME": "/c", "XDG_STATE_HOME": "/s", "XDG_RUNTIME_DIR": "/r"}
        config = load(environ={"HOME": str(tmp_path), **variables}, uid=uid)
        assert config.socket == Path("/r/farhand/farhandd.sock")
        assert config.edge.socket == Path("/r/farhand/edge.sock")
        assert config.state_dir == Path("/s/farhand")
        assert config.login.authorized_keys == (Path("/c/farhand/authorized_keys"),)

    def test_a_relative_xdg_variable_is_ignored(self, tmp_path: Path) -> None:
        assert default_config(tmp_path, XDG_STATE_HOME="state").state_dir == tmp_path / ".local/state/farhand"

    def test_root_has_the_systems_directories(self) -> None:
        config = load(environ={"HOME": "/root"}, uid=0)
        assert config.socket == Path("/run/farhand/farhandd.sock")
        assert config.state_dir == Path("/var/lib/farhand")

    def test_roots_service_has_key_files_for_each_account(self) -> None:
        config = load(environ={"HOME": "/root"}, uid=0)
        assert config.login.authorized_keys == (
            Path("/etc/farhand/authorized_keys.d/{user}"),
            Path("~/.config/farhand/authorized_keys"),
        )
        assert load(environ={"HOME": "/root"}, uid=0) == config

    @pytest.mark.parametrize(
        ("uid", "written", "meant"),
        [
            (0, "~/.ssh/authorized_keys", "~/.ssh/authorized_keys"),
            (1000, "~/.ssh/authorized_keys", "/home/me/.ssh/authorized_keys"),
            (0, "{config}/keys/{user}.pub", "/c/farhand/keys/{user}.pub"),
            (1000, "/etc/keys/{user}", "/etc/keys/{user}"),
            (0, "/etc/../keys", "/keys"),
        ],
    )
    def test_in_roots_service_a_tilde_stands_for_each_accounts_home(
        self, write: Write, uid: int, written: str, meant: str
    ) -> None:
        file = write(f'[login]\nauthorized_keys = ["{written}"]')
        config = load(file, environ={"HOME": "/home/me", "XDG_CONFIG_HOME": "/c"}, uid=uid)
        assert config.login.authorized_keys == (Path(meant),)

    @pytest.mark.parametrize("written", ["~/../keys", "/etc/{user}/../keys"])
    def test_a_path_that_depends_on_the_account_cannot_contain_two_dots(self, write: Write, written: str) -> None:
        file = write(f'[login]\nauthorized_keys = ["{written}"]')
        with pytest.raises(ConfigError, match=r"cannot contain \.\."):
            load(file, environ={"HOME": "/home/me"}, uid=0)

    @pytest.mark.parametrize(
        ("written", "meant"),
        [("~/s", "/home/me/s"), ("{config}/s", "/c/farhand/s"), ("{runtime}", "/r/farhand"), ("/a/../b", "/b")],
    )
    def test_a_path_may_begin_with_the_name_of_a_directory(self, write: Write, written: str, meant: str) -> None:
        environ = {"HOME": "/home/me", "XDG_CONFIG_HOME": "/c", "XDG_RUNTIME_DIR": "/r"}
        assert load(write(f'socket = "{written}"'), environ=environ, uid=1000).socket == Path(meant)


class TestFinding:
    def test_without_a_file_none_is_found(self, tmp_path: Path) -> None:
        assert find_file({"HOME": str(tmp_path)}, uid=1000) is None

    @pytest.mark.parametrize("uid", [0, 1000])
    def test_it_is_found_below_xdg_config_home(self, tmp_path: Path, uid: int) -> None:
        file = tmp_path / "farhand" / "farhandd.toml"
        file.parent.mkdir()
        file.touch()
        assert find_file({"XDG_CONFIG_HOME": str(tmp_path)}, uid) == file

    def test_without_xdg_config_home_it_is_found_in_the_home_directory(self, tmp_path: Path) -> None:
        file = tmp_path / ".config" / "farhand" / "farhandd.toml"
        file.parent.mkdir(parents=True)
        file.touch()
        assert find_file({"HOME": str(tmp_path)}, uid=1000) == file


class TestReading:
    def test_written_keys_apply_and_the_others_have_defaults(self, write: Write) -> None:
        config = load(write('listen = ["[::1]:7022", "localhost:0"]\n[runs]\nspool = "1 MiB"\nlinger = "250 ms"'))
        assert config.listen == (ListenAddress("::1", 7022), ListenAddress("localhost", 0))
        assert (config.runs.spool, config.runs.linger) == (1 << 20, 0.25)
        assert (config.runs.kill_after, config.runs.max_timeout) == (5.0, inf)

    @pytest.mark.parametrize(
        ("written", "seconds"), [("3", 3.0), ("0.5", 0.5), ('"2 min"', 120.0), ('"1.5h"', 5400.0), ('"20 s"', 20.0)]
    )
    def test_a_duration_may_have_a_unit(self, write: Write, written: str, seconds: float) -> None:
        assert load(write(f"[drain]\ngrace = {written}")).drain.grace == seconds

    def test_durations_of_the_edge_may_have_a_unit_too(self, write: Write) -> None:
        edge = load(write('[edge]\npenalty_max = "1 h"\ndrain = 3')).edge
        assert (edge.penalty_max, edge.drain) == (3600.0, 3.0)

    @pytest.mark.parametrize(
        ("written", "size"),
        [
            ("1048576", 1 << 20),
            ('"1024KiB"', 1 << 20),
            ('"1.5 MiB"', 3 << 19),
            ('"2 MB"', 2_000_000),
            ('"64M"', 64 << 20),
        ],
    )
    def test_a_size_may_have_a_unit(self, write: Write, written: str, size: int) -> None:
        assert load(write(f"[runs]\nspool = {written}")).runs.spool == size

    def test_the_edges_account_is_a_name_or_a_uid_and_by_default_the_services_own(self, write: Write) -> None:
        assert load().edge.account == os.geteuid()
        assert load(write('[edge]\naccount = "nobody"')).edge.account == pwd.getpwnam("nobody").pw_uid
        assert load(write("[edge]\naccount = 4711")).edge.account == 4711

    def test_the_command_line_overrides_the_file(self, write: Write) -> None:
        file = write('listen = ["0.0.0.0:1"]\nsocket = "/a"')
        config = load(file, overrides={"listen": ["127.0.0.1:2"]})
        assert (config.listen, config.socket) == ((ListenAddress("127.0.0.1", 2),), Path("/a"))

    def test_a_path_on_the_command_line_is_relative_to_the_working_directory(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        assert load(overrides={"socket": "s"}).socket == tmp_path / "s"

    def test_a_configuration_is_immutable(self) -> None:
        with pytest.raises(ValueError, match="frozen"):
            load().runs.max_runs = 3  # type: ignore[misc]  # what is tested is that this fails


class TestRefusing:
    def test_a_mistake_is_reported_with_its_line(self, write: Write) -> None:
        file = write("# mine\n[runs]\n\nlingr = 1\ngrace = [\n1,\n]\n[rns]\n")
        with pytest.raises(ConfigError) as refusal:
            load(file, overrides={"listen": ["nowhere"]})
        places = sorted(line.rpartition(": ")[0].split(": ")[0] for line in str(refusal.value).splitlines())
        assert places == ["--listen", f"{file}:4", f"{file}:5", f"{file}:8"]

    @pytest.mark.parametrize(
        ("text", "sentence"),
        [
            ("[runs]\nlingr = 1", "unknown key [runs] lingr; did you mean 'linger'?"),
            ("lisen = []", "unknown key lisen; did you mean 'listen'?"),
            ("[runs]\nattempts = 1", "unknown key [runs] attempts; it belongs in [login]"),
            ("[log]\nlisten = []", "unknown key [log] listen; it belongs above the first section"),
            ("[runs]\nzzzz = 1", "unknown key [runs] zzzz"),
            ("[rns]\nlinger = 1", "unknown section [rns]; did you mean [runs]?"),
            ("[zzzz]", "unknown section [zzzz]"),
            ("[runs.more]", "unknown section [runs.more]"),
            ("runs = 1", "runs: must be a section, not 1"),
            ('[runs]\nmax_runs = "many"', "[runs] max_runs: must be a whole number, not 'many'"),
            ("[runs]\nmax_runs = 1.5", "[runs] max_runs: must be a whole number, not 1.5"),
            ("[runs]\nmax_runs = true", "[runs] max_runs: must be a whole number, not true"),
            ("[runs]\nmax_runs = 0", "[runs] max_runs: must be at least 1, not 0"),
            ("[drain]\ngrace = true", "[drain] grace: must be a number, not true"),
            (
                "[drain]\ngrace = nan",
                "[drain] grace: must be seconds (90, 0.5) or a form like 30s, 5m, 1h30m, 2d, not nan",
            ),
            ("[drain]\ngrace = inf", "[drain] grace: must be at most 86400.0, not inf"),
            (
                '[drain]\ngrace = "5 parsecs"',
                "[drain] grace: must be seconds (90, 0.5) or a form like 30s, 5m, 1h30m, 2d, not '5 parsecs'",
            ),
            (
                '[runs]\nspool = "big"',
                "[runs] spool: must be bytes (65536) or a form like 64K, 512M, 1.5G, 64 KiB, 2 MB, not 'big'",
            ),
            ("[log]\nformat = 'xml'", "[log] format: must be one of 'auto', 'keyvalue' or 'json', not 'xml'"),
            ("listen = '[::]:1'", """listen: must be an array, such as ["…"], not '[::]:1'"""),
            (
                "listen = ['localhost:1', '::1:7022']",
                'listen, item 2: must be "HOST:PORT" with an IPv6 address in brackets,'
                """ such as "0.0.0.0:7022" or "[::]:7022", not '::1:7022'""",
            ),
            ("listen = [7022]", "listen, item 1: must be a string, not 7022"),
            (
                "socket = 'farhandd.sock'",
                "socket: must be an absolute path, or begin with ~, {config}, {state}, {runtime}, not 'farhandd.sock'",
            ),
            (
                "[edge]\naccount = 'no such'",
                "[edge] account: must be the name of an account on this machine, or a uid, not 'no such'",
            ),
            (
                "[edge]\npenalty_threshold = 100",
                "[edge] penalty_max: must not be below penalty_threshold (100 s), which no debt would reach, not 60.0",
            ),
            ("[edge]\nflush = inf", "[edge] flush: must be a finite number, not inf"),
            ("[edge]\nbefore_logins = 3", "unknown key [edge] before_logins; did you mean 'before_login'?"),
            ("[policy]\nenvironment = ['']", "[policy] environment, item 1: must not be empty, not ''"),
            ("socket = ", "not valid TOML: Invalid value (at end of document)"),
            (f"socket = {'[' * 5000}", "not valid TOML: nested too deeply"),
        ],
    )
    def test_each_error_is_one_sentence_with_file_and_key(self, write: Write, text: str, sentence: str) -> None:
        assert sentences(write(text)) == [sentence]

    @pytest.mark.parametrize(
        "address", ["", ":7022", "host", "host:", "host:65536", "host:x", "[]:1", "a b:1", "[::1:1"]
    )
    def test_a_malformed_address_is_refused(self, write: Write, address: str) -> None:
        assert sentences(write(f'listen = ["{address}"]'))[0].startswith('listen, item 1: must be "HOST:PORT"')

    def test_all_errors_are_reported_at_once(self, write: Write) -> None:
        assert len(sentences(write("[runs]\nlingr = 1\nmax_runs = 'x'\n[log]\nlevel = 'loud'"))) == 3

    def test_at_most_twenty_errors_are_reported(self, write: Write) -> None:
        reported = sentences(write("[runs]\n" + "\n".join(f"k{number} = 1" for number in range(1000))))
        assert len(reported) == 21
        assert reported[-1] == "and 980 more"

    def test_an_error_on_the_command_line_names_the_option(self, write: Write) -> None:
        with pytest.raises(ConfigError) as refusal:
            load(write(""), overrides={"listen": ["nowhere"]})
        assert str(refusal.value).startswith('--listen: must be "HOST:PORT"')

    def test_a_missing_file_is_an_error(self, tmp_path: Path) -> None:
        assert sentences(tmp_path / "farhandd.toml") == ["cannot be read: No such file or directory"]

    def test_a_file_that_is_not_utf_8_is_an_error(self, tmp_path: Path) -> None:
        file = tmp_path / "farhandd.toml"
        file.write_bytes(b"# \xff")
        assert sentences(file) == ["not UTF-8 at byte 2"]

    def test_an_integer_of_thousands_of_digits_is_an_error(self, write: Write) -> None:
        (sentence,) = sentences(write(f"socket = {'9' * 5000}"))
        assert sentence.startswith("not valid TOML: Exceeds the limit")

    def test_a_relative_path_without_a_working_directory_is_an_error(self, tmp_path: Path, write: Write) -> None:
        file, gone = write(""), tmp_path / "gone"
        gone.mkdir()
        with contextlib.chdir(gone):
            gone.rmdir()
            with pytest.raises(ConfigError) as refusal:
                load(file, overrides={"state_dir": "state"})
        assert str(refusal.value).startswith("--state-dir: state is relative, but the working directory")

    def test_without_a_home_a_state_directory_is_needed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def unknown(cls: type[Path]) -> Path:
            raise RuntimeError("Could not determine home directory.")

        monkeypatch.setattr(Path, "home", classmethod(unknown))
        assert load(overrides={"state_dir": "/s"}, environ={}, uid=54321).socket == Path("/s/farhandd.sock")
        assert find_file({}, uid=54321) is None
        with pytest.raises(ConfigError, match=r"^no home directory is known: .*; set HOME, or give --state-dir$"):
            load(environ={}, uid=54321)

    def test_an_endless_file_is_an_error(self) -> None:
        assert sentences(Path("/dev/zero")) == ["larger than 1048576 bytes; this is not a farhandd configuration"]

    def test_a_value_with_control_characters_is_shown_escaped(self, write: Write) -> None:
        assert "\x1b" not in sentences(write('[log]\nlevel = "\\u001b[2J"'))[0]


class TestEffective:
    def test_the_defaults_are_read_back_unchanged(self, write: Write) -> None:
        assert load(write(effective_toml(load()))) == load()

    # The characters of paths and patterns; files and addresses have fewer.
    @given(name=st.text(st.characters(exclude_characters="\0=", codec="utf-8"), min_size=1, max_size=40))
    def test_any_text_is_read_back_unchanged(self, name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
        file = tmp_path_factory.getbasetemp() / "effective_toml.toml"
        config = load(overrides={"socket": f"/x/{name}"})
        config = config.model_copy(update={"policy": config.policy.model_copy(update={"environment": (name,)})})
        file.write_text(effective_toml(config), newline="\n")
        assert load(file) == config
