"""`farhand up` leads from a fresh account to a service that answers, and `--remove` back, over a real sshd."""

from __future__ import annotations

import re

from tests.support.ssh_lab import ON_SSH_LAB, run_in_ssh_lab

pytestmark = ON_SSH_LAB


def test_a_fresh_account_is_up_with_one_command_and_nothing_is_left_after_remove() -> None:
    printed = run_in_ssh_lab(
        """
        tree /home/ann >/tmp/before
        me farhand up --dry-run ann@web >/tmp/dry
        tree /home/ann | diff /tmp/before -
        [ ! -e /home/me/.config ]
        me farhand up ann@web
        echo "== run"
        me farhand run web -- hostname
        tree /home/ann /home/me | grep -v -e history.db -e audit -e /tickets >/tmp/first
        echo "== again"
        me farhand up ann@web
        tree /home/ann /home/me | grep -v -e history.db -e audit -e /tickets | diff /tmp/first -
        echo "== remove"
        me farhand up --remove web
        tree /home/ann | diff /tmp/before -
        [ ! -e /home/me/.config/farhand ]
        ! pgrep -f farhand_server
        """
    )
    first, run, again, remove = re.split(r"== \w+\n", printed)
    assert "try it:    farhand run web -- hostname" in first
    assert "it will not survive a restart of that machine" in first
    assert "@reboot /home/ann/.local/share/farhand/current/bin/farhandd serve" in first
    assert run == "web\n"
    assert re.search(r"(?m)^install: .* was there$", again)
    assert re.search(r"(?m)^start: +runs on its own, pid \d+$", again)
    assert "the service is stopped, and all that was made there is gone" in remove
