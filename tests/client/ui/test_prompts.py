"""Questions are asked only of a person who sees them, and only `yes` confirms a key."""

from __future__ import annotations

from pathlib import Path

import pytest

from farhand_client.errors import HostKeyUnknown
from farhand_client.ui import prompts
from tests.support.tls import tls


@pytest.fixture
def unknown(tmp_path: Path) -> HostKeyUnknown:
    _, key = tls(tmp_path / "state")
    return HostKeyUnknown("not known", name="web", key=key)


async def test_without_a_terminal_nobody_is_asked(unknown: HostKeyUnknown, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.isatty", lambda fd: False)
    assert not await prompts.confirm_host_key(unknown)
    assert await prompts.ask_passphrase("Passphrase: ") is None


@pytest.mark.parametrize(
    ("answer", "confirmed"), [("yes", True), (" YES ", True), ("y", False), ("no", False), ("", False), (None, False)]
)
async def test_only_yes_confirms_a_key(
    unknown: HostKeyUnknown, monkeypatch: pytest.MonkeyPatch, answer: str | None, confirmed: bool
) -> None:
    shown: list[str] = []

    async def ask(prompt: str, *, echo: bool = True) -> str | None:
        shown.append(prompt)
        return answer

    monkeypatch.setattr(prompts, "can_ask", lambda: True)
    monkeypatch.setattr(prompts, "ask", ask)
    assert await prompts.confirm_host_key(unknown) is confirmed
    assert "The host key of web is not known" in shown[0]
    assert unknown.fingerprint in shown[0]
