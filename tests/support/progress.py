"""Shows the progress of a test run: how many tests are done, the elapsed time, and which tests are running.

On a terminal one line is updated in place; elsewhere, as in CI, a line is written every ten seconds. A failed test is
named at once. With xdist it works on the controller, which receives the reports of all workers.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

import pytest

INTERVAL: Final = 10.0
"""Seconds between two lines if stdout is not a terminal."""

REDRAW: Final = 0.1
"""Seconds between two updates of the line on a terminal."""


class Progress:
    """A pytest plugin that replaces the dots."""

    def __init__(self, reporter: pytest.TerminalReporter) -> None:
        self._reporter = reporter
        reporter.showfspath = False
        self._began = self._written = time.monotonic()
        self._total = 0
        self._done = 0
        self._failed = 0
        self._running: dict[str, float] = {}

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self._total = max(self._total, len(session.items))

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: Sequence[str]) -> None:
        self._total = len(ids)

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._running[nodeid] = time.monotonic()
        self._show()

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        self._running.pop(nodeid, None)
        self._done += 1

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self._failed += 1
            self._line(f"FAILED {report.nodeid}" + ("" if report.when == "call" else f" ({report.when})"))

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, str] | None:
        """Count tests for the summary without a dot for each."""
        if report.failed:
            return ("failed", "", "FAILED") if report.when == "call" else ("error", "", "ERROR")
        if report.passed:
            return ("passed" if report.when == "call" else "", "", "")
        return ("skipped", "", "SKIPPED")

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self) -> None:
        self._line(f"{self._status()} done")

    def _status(self) -> str:
        elapsed = int(time.monotonic() - self._began)
        percent = 100 * self._done // self._total if self._total else 0
        failed = f", {self._failed} failed" if self._failed else ""
        return f"{percent:3}% ({self._done} of {self._total}{failed}) {elapsed // 60}:{elapsed % 60:02}"

    def _show(self) -> None:
        now = time.monotonic()
        if now - self._written < (REDRAW if self._reporter.isatty else INTERVAL):
            return
        self._written = now
        running = [f"{name.removeprefix('tests/')} ({now - since:.0f} s)" for name, since in self._running.items()]
        text = f"{self._status()} running {', '.join(running)}"
        if self._reporter.isatty:
            self._reporter.rewrite(text[:79], erase=True)
            self._reporter.flush()
        else:
            self._line(text)

    def _line(self, text: str) -> None:
        if self._reporter.isatty:
            self._reporter.rewrite("", erase=True)
        self._reporter.write_line(text)
        self._reporter.flush()


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Install the plugin unless -v or -q is given, and not in the workers of xdist."""
    reporter = config.pluginmanager.getplugin("terminalreporter")
    worker = hasattr(config, "workerinput")
    if reporter is not None and not worker and config.get_verbosity() == 0 and not config.option.collectonly:
        config.pluginmanager.register(Progress(reporter), "farhand-progress")
