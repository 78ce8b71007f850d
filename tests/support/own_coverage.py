"""Checks that each module is covered by its own tests: `python -m tests.support.own_coverage [pytest's options]`, or
`tests/run --own-coverage`.

A line that happens to run in the tests of another module proves nothing. So the whole suite runs once. During the unit
tests coverage.py records for each line the test modules in which it ran (a dynamic context); of each source module,
only the lines that ran in its own tests count: `a/b.py` of a package is tested by `a/test_b.py` and `a/test_b_*.py` in
the folder of the package's tests. The model is `maxi_cov.py` of websockets, which starts a process for each module
instead.

This module is also the pytest plugin that the command loads into the workers.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import coverage
import pytest

from tests.support.zygote import preload

ROOT: Final = Path(__file__).parents[2]

PACKAGES: Final = {
    "protocol/farhand_protocol": "tests/protocol",
    "protocol/farhand_files": "tests/files",
    "protocol/farhand_forwards": "tests/forwards",
    "server/farhand_server": "tests/server",
    "client/farhand_client": "tests/client",
}
"""Each package and the folder of its tests."""

MINIMUM: Final = 80
"""Percentage of a module's statements that its own tests have to run."""

EXCEPTIONS: Final[dict[str, str]] = {
    "client/farhand_client/__main__.py": "every test of a command runs it, as __main__",
    "client/farhand_client/connection/forked.py": "its own tests run it in forked children, which are not measured",
    "client/farhand_client/direct/borrowing.py": "tests/integration/test_helper.py: commands and a helper, unmeasured",
    "client/farhand_client/helper/__main__.py": "every test of a helper runs it, as __main__",
    "client/farhand_client/helper/process.py": "its own tests start it as the process that it is, unmeasured",
    "client/farhand_client/helper/child.py": "tests/client/helper/test_front.py runs it in forked children, unmeasured",
    "client/farhand_client/helper/front.py": "its own tests start it as the program that it is, unmeasured",
    "client/farhand_client/helper/zygote.py": "its own tests run it in a process of its own, which is not measured",
    "client/farhand_client/repl/interpreter.py": "tests/integration/test_prompt_state.py, test_repl.py: real shells",
    "client/farhand_client/ui/unread_stdin.py": "its own tests ask about their parents in processes of their own",
    "server/farhand_server/cli/core.py": "every service of the tests is one, in a process of its own, unmeasured",
    "server/farhand_server/cli/edge.py": "tests/server/edge/test_process.py and tests/deploy: an edge started for real",
    "server/farhand_server/cli/facing.py": "the same tests: an edge started for real, in a process of its own",
    "server/farhand_server/cli/web.py": "tests/integration/web/test_passkeys.py, tests/deploy: a web process for real",
    "server/farhand_server/cli/serve.py": "tests/integration/test_upgrade.py: what follows an execve is not measured",
    "server/farhand_server/runs/process/childwatcher.py": "one half is for Python 3.14 and later",
    "client/farhand_client/cli/forward.py": "tests/integration/test_forward.py: the program, with a real service",
    "client/farhand_client/cli/forward_kept.py": "tests/integration/test_forward.py: it keeps a process of its own",
    "client/farhand_client/kept/mounts.py": "its own tests run it in a process of its own, which is not measured",
    "client/farhand_client/cli/up.py": "tests/integration/test_up.py: the program, over a real sshd",
    "client/farhand_client/cli/rsh_forwards.py": "tests/integration/test_rsh.py: the program, with a real service",
    "client/farhand_client/up/raising.py": "tests/integration/test_up.py: it needs another machine",
    "client/farhand_client/up/taking_down.py": "tests/integration/test_up.py: it needs another machine",
    "client/farhand_client/up/there/program.py": "tests/integration/test_up.py runs the rest, on another machine",
    "client/farhand_client/hops.py": "tests/integration/test_via.py: it needs several services",
    "server/farhand_server/cli/stdio.py": "its own tests start it as the program that it is, unmeasured",
    "server/farhand_server/forwards/worker.py": "its own tests run it in a process of its own, which is not measured",
    "server/farhand_server/files/worker.py": "its own tests run it in a process of its own, which is not measured",
    "server/farhand_server/worker/identity.py": "tests/server/files/test_worker.py: it cannot be undone here",
    "server/farhand_server/worker/spawner.py": "its own tests run it in a process of its own, which is not measured",
    "server/farhand_server/edge/process.py": "tests/server/edge/test_process.py starts it unmeasured",
}
"""Modules whose own tests run fewer lines, and what tests them instead."""

ALSO_BY: Final[dict[str, tuple[str, ...]]] = {
    # The parts of the receiver that decide nothing on their own are tested with a sender at the other end.
    **{
        f"protocol/farhand_files/{name}.py": ("tests/files/test_contents.py", "tests/files/test_receiver.py")
        for name in ("arriving", "placing", "results")
    },
    "protocol/farhand_files/frames.py": ("tests/files/test_wire.py",),
    "protocol/farhand_forwards/accepting.py": ("tests/forwards/test_listening.py",),
    "protocol/farhand_forwards/ends.py": ("tests/forwards/test_relay.py",),
    "protocol/farhand_forwards/flow_events.py": ("tests/forwards/test_mux.py",),
    "protocol/farhand_forwards/flow_state.py": ("tests/forwards/test_mux.py",),
    "protocol/farhand_files/pseudo.py": ("tests/files/test_walk.py",),
    "protocol/farhand_files/visit.py": ("tests/files/test_walk.py",),
    # ssh's configuration is tested as a whole, beside ssh itself.
    **{
        f"client/farhand_client/sshconfig/{name}.py": (
            "tests/client/sshconfig/test_against_ssh.py",
            "tests/client/sshconfig/test_command_line.py",
            "tests/client/sshconfig/test_lookup.py",
            "tests/client/sshconfig/test_reading.py",
            "tests/client/sshconfig/test_session.py",
        )
        for name in (
            "command_line",
            "dump",
            "forms",
            "line",
            "matching",
            "patterns",
            "places",
            "settings",
            "splitting",
            "tokens",
        )
    },
    "client/farhand_client/cli/rsh_session.py": ("tests/client/cli/test_rsh.py",),
    "client/farhand_client/cli/execute.py": ("tests/client/cli/test_rsh.py", "tests/client/cli/test_run.py"),
    "client/farhand_client/direct/route.py": ("tests/client/direct/test_command.py",),
    "client/farhand_client/direct/service_message.py": ("tests/client/direct/test_running.py",),
    "client/farhand_client/web/relay.py": ("tests/client/web/test_hosts.py", "tests/client/web/test_server.py"),
    "client/farhand_client/kept/ask.py": ("tests/client/kept/test_control.py",),
    "client/farhand_client/logins.py": (
        "tests/client/cli/test_connection.py",
        "tests/client/cli/test_resume.py",
        "tests/client/test_client.py",
        "tests/client/test_connector.py",
        "tests/client/connection/test_helper_use.py",
        "tests/client/connection/test_login.py",
    ),
    # What changes the process itself is tested in forked children, which are not measured.
    "client/farhand_client/ui/process.py": ("tests/client/cli/test_main.py",),
    "server/farhand_server/cli/process.py": ("tests/server/cli/test_main.py",),
    "server/farhand_server/audit/chain.py": ("tests/server/audit/test_log.py", "tests/server/audit/test_verify.py"),
    "server/farhand_server/audit/entry.py": ("tests/server/audit/test_log.py",),
    "server/farhand_server/runrecords.py": ("tests/server/test_ledger.py",),
    "server/farhand_server/cli/command.py": ("tests/server/cli/test_main.py", "tests/server/cli/test_admin.py"),
    "server/farhand_server/config/problems.py": ("tests/server/config/test_load.py",),
    "server/farhand_server/config/values.py": ("tests/server/config/test_load.py",),
    "server/farhand_server/edge/connection.py": ("tests/server/web/test_exchange.py",),
    "server/farhand_server/edge/edge.py": (
        "tests/server/edge/test_connection.py",
        "tests/server/edge/test_process.py",
    ),
    "server/farhand_server/history/database.py": (
        "tests/server/history/test_bad_days.py",
        "tests/server/history/test_recovery.py",
        "tests/server/history/test_store.py",
    ),
    "server/farhand_server/history/prefixes.py": ("tests/server/history/test_store.py",),
    "server/farhand_server/history/store.py": (
        "tests/server/history/test_recovery.py",
        "tests/server/history/test_retention.py",
    ),
    "server/farhand_server/runs/execution.py": (
        "tests/server/runs/test_kept.py",
        "tests/server/runs/test_left.py",
        "tests/server/runs/test_registry.py",
        "tests/server/runs/test_run_snapshot.py",
        "tests/server/runs/test_stop.py",
        "tests/server/runs/attachments/test_attachments.py",
        "tests/server/connection/channels/test_run.py",
    ),
    "server/farhand_server/runs/plan.py": (
        "tests/server/admission/test_plan.py",
        "tests/server/runs/test_registry.py",
        "tests/server/runs/test_run_snapshot.py",
        "tests/server/runs/test_stop.py",
    ),
    "server/farhand_server/policy/model.py": (
        "tests/server/policy/test_decide.py",
        "tests/server/policy/test_load.py",
    ),
    "server/farhand_server/history/records.py": (
        "tests/server/history/test_bad_days.py",
        "tests/server/history/test_recovery.py",
        "tests/server/history/test_retention.py",
        "tests/server/history/test_store.py",
    ),
    "client/farhand_client/connector.py": (
        "tests/client/cli/test_connection.py",
        "tests/client/cli/test_resume.py",
        "tests/client/test_client.py",
        "tests/client/connection/test_helper_use.py",
        "tests/client/connection/test_login.py",
    ),
    "client/farhand_client/run.py": (
        "tests/client/cli/test_resume.py",
        "tests/client/test_client_run.py",
        "tests/client/test_client_run_failures.py",
        "tests/client/test_stdin.py",
    ),
    "server/farhand_server/runs/run.py": ("tests/server/runs/test_registry.py", "tests/server/runs/test_stop.py"),
    "server/farhand_server/runs/streams/streams.py": ("tests/server/runs/test_registry.py",),
    "server/farhand_server/history/writer.py": (
        "tests/server/history/test_group_commit.py",
        "tests/server/history/test_store.py",
    ),
}
"""Internal modules of a folder that are tested through its interface: further test modules that count for them."""

_DATA: Final = "FARHAND_OWN_COVERAGE"
"""The variable with the directory of the data; if it is set, this module acts as a plugin."""


def sources() -> Iterator[tuple[Path, list[Path]]]:
    """Yield each source module that has statements of its own, with its test modules, relative to the root."""
    for package, tests in PACKAGES.items():
        for path in sorted((ROOT / package).rglob("*.py")):
            name = path.relative_to(ROOT / package)
            stem = name.parent.name if path.stem == "__init__" else path.stem
            folder = ROOT / tests / (name.parent.parent if path.stem == "__init__" else name.parent)
            source = path.relative_to(ROOT)
            own = {each.relative_to(ROOT) for name in (stem, f"{stem}_*") for each in folder.glob(f"test_{name}.py")}
            yield source, sorted(own | {Path(name) for name in ALSO_BY.get(str(source), ())})


def measure(arguments: list[str]) -> tuple[int, coverage.CoverageData]:
    """Run the tests; return pytest's exit code and the coverage data."""
    with tempfile.TemporaryDirectory(prefix="own-") as directory:
        command = [sys.executable, "-m", "pytest", "-p", "tests.support.own_coverage"]
        env = os.environ | {_DATA: directory}
        code = subprocess.run([*command, *arguments], cwd=ROOT, env=env, check=False).returncode
        data = coverage.CoverageData(no_disk=True)
        for file in Path(directory).iterdir():
            part = coverage.CoverageData(str(file))
            part.read()
            data.update(part)
        return code, data


def percentage(data: coverage.CoverageData, source: Path, own: list[Path]) -> tuple[int, list[int]]:
    """Return the percentage of the statements of `source` that ran in `own` or when imported, and the lines that did
    not."""
    file = str(ROOT / source)
    parser = coverage.Coverage(data_file=None, config_file=False)
    parser.exclude(r"if TYPE_CHECKING:|\.\.\.$")
    statements = set(parser.analysis2(file)[1])
    wanted = {"", *map(str, own)}
    contexts = data.contexts_by_lineno(file)
    ran = {line for line in statements if wanted & set(contexts.get(line, []))}
    return (100 * len(ran) // len(statements) if statements else 100), sorted(statements - ran)


def main() -> int:
    """Measure and print the modules below the minimum. Return 1 if one is no exception, an exception is stale, or a
    test has failed."""
    code, data = measure(sys.argv[1:])
    failed = 0
    for source, own in sources():
        percent, missing = percentage(data, source, own)
        excepted = EXCEPTIONS.get(str(source))
        if (percent >= MINIMUM) != (excepted is None):
            failed += 1
            what = "is an exception and needs to be none" if excepted else f"lines {_ranges(missing)}"
            print(f"{source}: {percent} % by {', '.join(map(str, own)) or 'nothing'}; {what}")
    for name in EXCEPTIONS.keys() - {str(source) for source, _ in sources()}:
        failed += 1
        print(f"{name}: is listed in EXCEPTIONS, but does not exist")
    print(
        f"{failed} modules are not covered by their own tests" if failed else "each module is covered by its own tests"
    )
    return 1 if failed or code else 0


def is_measured(test_module: str) -> bool:
    """Return whether a test module, relative to the root, is that of a package: the others count for no module."""
    return any(test_module.startswith(f"{folder}/") for folder in PACKAGES.values())


def _ranges(lines: list[int]) -> str:
    parts: list[list[int]] = []
    for line in lines:
        if parts and line == parts[-1][1] + 1:
            parts[-1][1] = line
        else:
            parts.append([line, line])
    return ", ".join(f"{first}-{last}" if first != last else f"{first}" for first, last in parts)


class Contexts:
    """The plugin: records the module of the running test."""

    def __init__(self, directory: str) -> None:
        names = [package.partition("/")[2] for package in PACKAGES]
        self._coverage = coverage.Coverage(
            data_file=f"{directory}/data", data_suffix=True, config_file=False, source_pkgs=names
        )
        self._coverage.start()
        preload()  # lines that run at import count for all tests
        self._measuring = True

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        module = str(item.path.relative_to(ROOT))
        self._measure(is_measured(module))
        if not self._measuring:
            return (yield)
        self._coverage.switch_context(module)
        result = yield
        self._coverage.switch_context("")
        return result

    def pytest_unconfigure(self) -> None:
        self._measure(False)
        self._coverage.save()

    def _measure(self, wanted: bool) -> None:
        if wanted and not self._measuring:
            self._coverage.start()
        if self._measuring and not wanted:
            self._coverage.stop()
        self._measuring = wanted


# Now, before conftest.py imports a module of Farhand.
_plugin = Contexts(os.environ[_DATA]) if _DATA in os.environ else None


def pytest_configure(config: pytest.Config) -> None:
    """Register the plugin."""
    if _plugin is not None:
        config.pluginmanager.register(_plugin)


if __name__ == "__main__":
    sys.exit(main())
