"""Values of ssh's configuration are taken, and refused, in the words of ssh: each is tried beside `ssh -G`."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from farhand_client.errors import AddressError
from farhand_client.sshconfig.line import SshConfigError
from farhand_client.sshconfig.lookup import look_up
from farhand_client.sshconfig.reading import ConfigFiles

LINES = [
    "ConnectTimeout none", "ConnectTimeout 1m30", "ConnectTimeout soon", "ConnectTimeout",
    "ConnectionAttempts 3", "ConnectionAttempts x", "ConnectionAttempts 99999999999", "ConnectionAttempts",
    "User ann", "User", "IdentityFile a\nIdentityFile b\nIdentityFile a", "IdentityFile",
    "ProxyCommand nc %h %p", "ProxyCommand =  nc", "ProxyJump a,b\nProxyCommand nc", "ProxyJump none", "ProxyJump a@@",
    "UserKnownHostsFile a b", "UserKnownHostsFile none", "UserKnownHostsFile a none", 'UserKnownHostsFile ""',
    "LocalForward 80 a:81", "LocalForward 80", "LocalForward x y z", "RemoteForward 80", "RemoteForward 80 a:81",
    "DynamicForward 1080", "DynamicForward x:y:z", "ForwardAgent yes", "ForwardAgent $AGENT", "ForwardAgent ${NO_SUCH}",
    "ForwardAgent $1x", "ForwardAgent $a-b", "ForwardAgent $_",
    "IdentityAgent none", "IdentityAgent", "AddKeysToAgent yes", "AddKeysToAgent confirm 5m",
    "AddKeysToAgent 2h", "AddKeysToAgent soon", "Port 99999", "Port 022", "Port",
    "PermitRemoteOpen any", "PermitRemoteOpen a:1 none", "PermitRemoteOpen a:1 b:2", "EscapeChar none", "EscapeChar ^b",
    "EscapeChar xy", "EscapeChar", "SyslogFacility local3", "SyslogFacility LOCAL9", "SyslogFacility",
    "LogLevel debug2",
    "LogLevel loud", "LogLevel", "RekeyLimit 1G 1h", "RekeyLimit default none", "RekeyLimit 1", "RekeyLimit xG",
    "RekeyLimit", "SendEnv A B_*\nSendEnv -B_*", "SendEnv A=b", "SetEnv A=b C=d A=e", "SetEnv A", "ControlPersist yes",
    "ControlPersist 5m", "ControlPersist often", "ControlPersist", "TunnelDevice 1:any", "TunnelDevice 7",
    "TunnelDevice x", "IPQoS lowdelay throughput", "IPQoS 8", "IPQoS", "StreamLocalBindMask 0177",
    "StreamLocalBindMask 9", "StreamLocalBindMask", "Compression yes",
    "Compression maybe", "StrictHostKeyChecking ask", "StrictHostKeyChecking perhaps", "RequestTTY force",
]  # fmt: skip
"""Some lines of each form: as they are meant, and wrong."""


async def judged_by_ssh(home: Path, text: str) -> tuple[bool, str]:
    """Return whether ssh takes a configuration, and what it says of it."""
    config = home / "config"
    config.write_text(f"{text}\n")
    process = await asyncio.create_subprocess_exec(
        "ssh", "-G", "-F", str(config), "host",
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
        env={"PATH": os.environ["PATH"], "HOME": str(home)},
    )  # fmt: skip
    said = (await process.communicate())[1].decode()
    return process.returncode == 0, said.replace("\r\n", "\n")


def judged_here(home: Path, text: str) -> tuple[bool, str]:
    config = home / "config"
    config.write_text(f"{text}\n")
    try:
        look_up("host", ConfigFiles(str(config)))
    except (SshConfigError, AddressError) as error:
        return False, str(error)
    return True, ""


@pytest.mark.needs("ssh")
async def test_each_is_taken_or_refused_as_by_ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    wrong = []
    for text in LINES:
        theirs, ours = await judged_by_ssh(tmp_path, text), judged_here(tmp_path, text)
        same = theirs[0] if ours[0] else ours[1].rpartition(": ")[2].rstrip(".") in theirs[1]
        if not same or theirs[0] != ours[0]:
            wrong.append((text, theirs, ours))
    assert not wrong, "\n".join(map(repr, wrong))
