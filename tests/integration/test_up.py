"""`farhand up` leads from a fresh account to a service that answers, and `--remove` back, over a real sshd."""

from __future__ import annotations

import re

import pytest

from tests.support.ssh_lab import ON_SSH_LAB, ROOT, run_in_ssh_lab

pytestmark = ON_SSH_LAB

VERSION = ROOT / "client/farhand_client/version.py"


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
        me farhand up web  # the name that it has here, for ssh another account
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


@pytest.mark.long
def test_whatever_the_login_shell_prints_or_masks_it_is_in_nobody_s_way() -> None:
    printed = run_in_ssh_lab(
        """
        printf 'echo noise; umask 077\\n' >/home/zoe/.zshenv
        mkdir -p /home/fay/.config/fish /home/fay/.local/share/fish
        printf 'echo -n noise\\numask 077\\n' >/home/fay/.config/fish/config.fish
        chown -R fay: /home/fay
        for each in fay zoe dan; do
            tree /home/$each >/tmp/before
            me farhand up --name $each $each@web >/tmp/said
            me farhand run $each -- id -un
            me farhand up --remove $each >/tmp/said
            tree /home/$each | grep -v /fish/ | diff <(grep -v /fish/ /tmp/before) -
        done
        """
    )
    assert printed.split() == ["fay", "zoe", "dan"]


@pytest.mark.long
def test_a_fresh_root_is_up_without_systemd_and_nothing_is_left_after_remove() -> None:
    printed = run_in_ssh_lab(
        """
        everything() { tree / | grep -v -e '^/home/me' -e '^/run '; }
        everything >/tmp/before
        me farhand up root@web
        me farhand run web -- id -u
        me farhand up --remove web
        everything | diff /tmp/before -
        """
    )
    assert re.search(r"(?m)^install: +/opt/farhand/", printed)
    assert "systemd is not running this machine" in printed
    assert "\n0\n" in printed


@pytest.mark.long
def test_where_the_port_is_behind_a_firewall_ssh_carries_the_connection() -> None:
    printed = run_in_ssh_lab(
        """
        on_web ip rule add ipproto 6 sport 7022 blackhole pref 1
        me farhand up ann@web
        grep address /home/me/.config/farhand/config.toml
        me farhand run web -- hostname
        me farhand up ann@web | grep -e ^name -e ^reach
        me farhand up --remove web
        """
    )
    assert printed.count("So ssh is to carry the connection: ssh:ann@web") == 2
    assert 'address = "ssh:ann@web"\nweb\n' in printed
    assert "as before" in printed


@pytest.mark.long
def test_interrupted_after_any_step_the_next_one_completes_it() -> None:
    printed = run_in_ssh_lab(
        """
        tree /home/ann >/tmp/before
        for lines in 1 2 3 4 5 7 9; do me farhand up ann@web 2>&1 | head -n $lines >/tmp/said; done
        me farhand up ann@web | tail -n 2
        me farhand up ann@web | grep -c -e 'was there' -e 'as before' -e '^start: *runs'
        me farhand up --remove web >/tmp/said
        tree /home/ann | diff /tmp/before -
        """
    )
    assert printed.splitlines() == ["run:       true has run there", "try it:    farhand run web -- hostname", "5"]


@pytest.mark.long
def test_a_new_version_takes_over_while_runs_continue_and_they_keep_it_from_being_removed() -> None:
    printed = run_in_ssh_lab(
        f"""
        me farhand up ann@web >/tmp/said
        me farhand run --detach web -- sleep 1000 >/tmp/id
        cp {VERSION} /tmp/version.py
        echo '# new' >>/tmp/version.py
        mount --bind /tmp/version.py {VERSION}
        me farhand up ann@web | grep ^start
        me farhand ps web
        me farhand up --remove web && exit 1
        me farhand up --remove --force web
        """
    )
    assert "now runs the new version; its runs continue" in printed
    assert "running" in printed
    assert "1 run still going on here; wait for the end, or use --force" in printed
    assert "the service is stopped, and all that was made there is gone" in printed


@pytest.mark.long
def test_what_is_in_the_way_is_said_and_nothing_is_left() -> None:
    printed = run_in_ssh_lab(
        """
        fails() { "$@" && exit 1 || echo "code $?"; }
        tree /home/ann >/tmp/before
        mount --bind /usr/bin/false /usr/bin/python3.11
        fails me farhand up ann@web
        umount /usr/bin/python3.11
        mount --bind /home/ann /home/ann
        mount -o remount,bind,ro /home/ann
        fails me farhand up ann@web
        umount /home/ann
        tree /home/ann | diff /tmp/before -
        mount -t tmpfs -o size=30m,mode=700,uid=$(id -u dan) tmpfs /home/dan
        mkdir -m 700 /home/dan/.ssh
        cp /home/me/.ssh/id_ed25519.pub /home/dan/.ssh/authorized_keys
        chown -R dan: /home/dan/.ssh
        fails me farhand up dan@web
        me farhand up --remove dan@web
        [ ! -e /home/dan/.local ]
        fails me farhand up --system ann@web
        fails me farhand up nobody@web
        """
    )
    assert "Farhand needs Python 3.11 or later" in printed
    assert "uv python install" in printed
    assert "cannot create a directory: /home/ann/.local: Read-only file system" in printed
    assert re.search(r"has \d+ MiB free, and the installation needs \d+ MiB; make room there", printed)
    assert "sudo asks for a password there" in printed
    assert "ssh to nobody@web has failed" in printed
    assert printed.count("code 255\n") == 5
