"""An ordinary user's service warns if a logout could end it."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest

from farhand_server.lingering import lingering_warning
from tests.support.parents import USER

UID = pwd.getpwnam(USER).pw_uid
SESSION = f"0::/user.slice/user-{UID}.slice/session-3.scope\n"
MANAGER = f"0::/user.slice/user-{UID}.slice/user@{UID}.service/app.slice/farhandd.service\n"
SYSTEM = "0::/system.slice/farhandd.service\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for directory in ("proc/self", "var/lib/systemd/linger"):
        (tmp_path / directory).mkdir(parents=True)
    return tmp_path


@pytest.mark.parametrize(
    ("cgroup", "socket", "uid", "warns"),
    [
        pytest.param(SESSION, "state/s", UID, True, id="in a session"),
        pytest.param(MANAGER, "state/s", UID, True, id="unit of the user"),
        pytest.param(SYSTEM, f"run/user/{UID}/farhand/s", UID, True, id="in the user's runtime directory"),
        pytest.param(SYSTEM, "run/farhand/s", UID, False, id="unit of the system"),
        pytest.param("0::/user.slice/user-0.slice/session-1.scope\n", "run/user/0/s", 0, False, id="root"),
        pytest.param(SESSION, "state/s", 4_000_000_000, False, id="no such account"),
    ],
)
def test_a_service_that_a_logout_could_end_warns(root: Path, cgroup: str, socket: str, uid: int, warns: bool) -> None:
    (root / "proc/self/cgroup").write_text(cgroup)
    assert (lingering_warning(root / socket, uid=uid, root=root) is not None) == warns


def test_the_warning_says_what_happens_and_what_to_do(root: Path) -> None:
    (root / "proc/self/cgroup").write_text(SESSION)
    assert lingering_warning(root / "s", uid=UID, root=root) == (
        f"lingering is off: when {USER} logs out, logind removes {root}/run/user/{UID} and may end this service; "
        f"to prevent that: loginctl enable-linger {USER}"
    )


def test_a_user_who_lingers_is_not_warned(root: Path) -> None:
    (root / "proc/self/cgroup").write_text(SESSION)
    (root / "var/lib/systemd/linger" / USER).touch()
    assert lingering_warning(root / "s", uid=UID, root=root) is None


def test_without_proc_nothing_is_known(tmp_path: Path) -> None:
    assert lingering_warning(tmp_path / "s", uid=UID, root=tmp_path) is None
    lingering_warning(tmp_path / "s", uid=os.geteuid())
