"""Ansible over Farhand does what it does over ssh: `PATH` begins with the shims, and no setting is needed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.remote_shells import RemoteShell, RemoteShells

pytestmark = pytest.mark.needs("ansible", "ssh", "sshd", "sftp")

CONFIG = """\
[defaults]
inventory = {here}/hosts
interpreter_python = /usr/bin/python3
local_tmp = {here}/local-private
remote_tmp = {here}/remote-private
retry_files_enabled = false
nocows = true
[ssh_connection]
pipelining = {pipelining}
control_path_dir = {here}/control-private
"""


def with_ansible(
    shell: RemoteShell, here: Path, *, pipelining: bool = False, hosts: str = "web", shims: bool = True
) -> RemoteShell:
    """Return the shell with Ansible's files below `here`."""
    (here / "hosts").write_text(f"[all]\n{hosts}\n")
    config = here / "ansible-private.cfg"
    config.write_text(CONFIG.format(here=here, pipelining=pipelining))
    path = f"{shell.shims}:{shell.env['PATH']}" if shims else shell.env["PATH"]
    return shell.having(
        ANSIBLE_CONFIG=str(config), ANSIBLE_HOME=str(here / "home-private"), ANSIBLE_NOCOLOR="1", PATH=path
    )


async def recap(shell: RemoteShell, here: Path, playbook: str, *options: str) -> list[str]:
    """Execute a playbook, and return what it counts for each host."""
    file = here / "playbook-private.yml"
    file.write_text(playbook)
    said = await shell.act("ansible-playbook", *options, file)
    return re.findall(r"^\S+ +: .*", said, re.MULTILINE)


async def test_ping(shells: RemoteShells, tmp_path: Path) -> None:
    async def work(shell: RemoteShell, here: Path) -> object:
        return await with_ansible(shell, here, pipelining=True).act("ansible", "all", "-m", "ping")

    await shells.same(tmp_path, work)


@pytest.mark.long
async def test_copy(shells: RemoteShells, tmp_path: Path) -> None:
    async def work(shell: RemoteShell, here: Path) -> object:
        shell = with_ansible(shell, here)
        (here / "source").write_text("content\n" * 1000)
        copied = await shell.act("ansible", "all", "-m", "copy", "-a", f"src={here}/source dest={here}/there mode=0640")
        return re.findall(r'^ *"(?:changed|checksum|mode)": .*', copied, re.MULTILINE)

    await shells.same(tmp_path, work)


PLAYBOOK = """\
- hosts: all
  gather_facts: true
  tasks:
    - template: {{src: {here}/template, dest: {here}/there, mode: "0600"}}
      vars: {{name: "it's {{{{ ansible_connection }}}}"}}
    - template: {{src: {here}/template, dest: {here}/there, mode: "0600"}}
      vars: {{name: "it's {{{{ ansible_connection }}}}"}}
    - shell: printf '%s|' "$0" 'a  b' '"' ; cat >&2 /dev/null; exit 4
      register: done
      failed_when: done.rc != 4
    - copy: {{content: "{{{{ done.stdout }}}}", dest: {here}/said}}
    - script: {here}/script one 'two words'
      register: printed
    - copy: {{content: "{{{{ printed.stdout | trim }}}}", dest: {here}/printed}}
    - fetch: {{src: {here}/there, dest: {here}/fetched, flat: true}}
    - command: sleep 1
      async: 30
      poll: 1
"""


@pytest.mark.long
@pytest.mark.parametrize("pipelining", [False, True])
@pytest.mark.timeout(300)
async def test_a_playbook(shells: RemoteShells, tmp_path: Path, pipelining: bool) -> None:
    async def work(shell: RemoteShell, here: Path) -> object:
        shell = with_ansible(shell, here, pipelining=pipelining)
        (here / "template").write_text("Hello, {{ name }}!\n")
        (here / "script").write_text('#!/bin/sh\necho "$#: $1, $2"\n')
        return await recap(shell, here, PLAYBOOK.format(here=here))

    await shells.same(tmp_path, work)


@pytest.mark.long
@pytest.mark.needs("root", "su")
@pytest.mark.parametrize("pipelining", [False, True])
@pytest.mark.timeout(300)
async def test_tasks_become_another_user(shells: RemoteShells, tmp_path: Path, pipelining: bool) -> None:
    async def work(shell: RemoteShell, here: Path) -> object:
        for path in (here, *list(here.parents)[:-2]):
            path.chmod(path.stat().st_mode | 0o011)
        shell = with_ansible(shell, here, pipelining=pipelining)
        become = {"ANSIBLE_BECOME_METHOD": "su", "ANSIBLE_BECOME_FLAGS": "-s /bin/sh"}
        shell = shell.having(**become, ANSIBLE_REMOTE_TMP="/tmp/ansible-of-a-test")
        said = await shell.act(
            "ansible", "all", "--become", "--become-user=nobody", "-m", "command", "-a", "id --user --name"
        )
        (here / "said").write_text(said)
        return said

    await shells.same(tmp_path, work)


@pytest.mark.long
@pytest.mark.timeout(400)
async def test_twenty_hosts_at_once(shells: RemoteShells, tmp_path: Path) -> None:
    async def work(shell: RemoteShell, here: Path) -> object:
        shell = with_ansible(shell, here, hosts="host[01:20] ansible_host=web")
        playbook = f"""\
- hosts: all
  gather_facts: false
  tasks:
    - copy: {{content: "{{{{ inventory_hostname }}}}", dest: "{here}/{{{{ inventory_hostname }}}}"}}
"""
        return sorted(await recap(shell, here, playbook, "--forks=20"))

    result = await shells.same(tmp_path, work)
    assert sum(path.name.startswith("host") and path.name != "hosts" for path in result.iterdir()) == 20


@pytest.mark.long
@pytest.mark.timeout(300)
async def test_settings_of_the_inventory_do_the_same_without_the_path(shells: RemoteShells, tmp_path: Path) -> None:
    async def work(shell: RemoteShell, here: Path) -> object:
        hosts = (
            f"web ansible_ssh_executable={shell.shim('ssh')} ansible_sftp_executable={shell.shim('sftp')} "
            f"ansible_scp_executable={shell.shim('scp')} ansible_ssh_args='-o ServerAliveInterval=20'"
        )
        shell = with_ansible(shell, here, hosts=hosts, shims=False)
        (here / "hosts").rename(here / "hosts-private")
        (here / "source").write_text("content\n")
        said = ""
        for method in ("sftp", "scp", "piped"):
            there = f"{here}/by-{method}"
            said += await shell.having(
                ANSIBLE_SSH_TRANSFER_METHOD=method, ANSIBLE_INVENTORY=str(here / "hosts-private")
            ).act("ansible", "all", "-m", "copy", "-a", f"src={here}/source dest={there}")
        return re.findall(r'^ *"(?:changed|checksum|dest)": .*', said, re.MULTILINE)

    await shells.same(tmp_path, work)
