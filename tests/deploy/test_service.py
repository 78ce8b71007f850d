"""The installed service runs commands for authorized keys, as the account of its units; its edge is sandboxed."""

import shlex

import pytest

from tests.deploy.conftest import DEPLOY, Installation
from tests.support.installed_service import ON_SYSTEMD, UNTRUSTED, under_systemd

pytestmark = ON_SYSTEMD

README = DEPLOY.parent / "server" / "README.md"


def test_the_first_connection_starts_an_edge_and_a_key_of_root_gets_a_run(installation: Installation) -> None:
    script = """
echo -- before
systemctl show --property=ActiveState,StatusText farhandd.service
systemctl show --property=ActiveState farhand-edge.service
stat -c '%a %U %n' /var/lib/farhand /var/lib/farhand/host_key /run/farhand
echo -- run
farhand trust 127.0.0.1 "$(farhandd host-key | tail -n 1)" >/dev/null
farhand run 127.0.0.1 -- sh -c 'id -un; pwd; grep ^0: /proc/self/cgroup | sed s/-[0-9].*/-PID-START/; exit 7' ||
    echo "code $?"
echo -- after
systemctl show --property=ActiveState,StatusText farhand-edge.service
logged farhandd.service 'msg=login peer=127.0.0.1:[0-9]* user=root how=key key=SHA256:' | sed 's/:[0-9]* /:PORT /'
"""
    assert under_systemd(installation.root, script, started=UNTRUSTED) == [
        "-- before",
        "StatusText=serving",
        "ActiveState=active",
        "ActiveState=inactive",
        "700 root /var/lib/farhand",
        "600 root /var/lib/farhand/host_key",
        "755 root /run/farhand",
        "-- run",
        "root",
        "/root",
        "0::/system.slice/farhandd.service/farhand-PID-START",
        "code 7",
        "-- after",
        "StatusText=serving",
        "ActiveState=active",
        "msg=login peer=127.0.0.1:PORT user=root how=key key=SHA256:",
    ]


ANOTHER = f"SHA256:{'A' * 43}"


def test_a_key_is_trusted_by_the_fingerprint_that_the_service_shows(installation: Installation) -> None:
    script = f"""
key() {{ sed "s|$fingerprint|FINGERPRINT|g"; }}
fingerprint=$(farhandd host-key | tail -n 1)
farhand run 127.0.0.1 -- echo untrusted 2>/dev/null || echo "code $?"
farhand trust 127.0.0.1 {ANOTHER} 2>&1 | key
farhand run 127.0.0.1 -- echo untrusted 2>/dev/null || echo "code $?"
farhand trust 127.0.0.1 "$fingerprint" | key
farhand run 127.0.0.1 -- echo trusted
"""
    assert under_systemd(installation.root, script, started=UNTRUSTED) == [
        "code 255",
        f"farhand: 127.0.0.1 has the key FINGERPRINT, not {ANOTHER}; nothing was recorded",
        "code 255",
        "the host key of 127.0.0.1 is FINGERPRINT (/root/.config/farhand/known_hosts)",
        "trusted",
    ]


@pytest.mark.needs("nsenter")
def test_the_edge_is_sandboxed_while_it_serves(installation: Installation) -> None:
    script = """
mkdir -p /home/somebody
retry true
edge=$(pid farhand-edge.service)
stat -c %U "/proc/$edge"
grep -E '^(NoNewPrivs|Seccomp|CapBnd|CapEff):' "/proc/$edge/status" | tr '\\t' ' '
[ "$(readlink "/proc/$edge/ns/net")" = "$(readlink /proc/self/ns/net)" ] || echo "no network"
[ "$(readlink "/proc/$edge/ns/user")" = "$(readlink /proc/self/ns/user)" ] || echo "no users"
nsenter --target "$edge" --mount sh -c 'ls -A /home /root; touch /etc/mine' 2>&1 || :
"""
    assert under_systemd(installation.root, script) == [
        "farhand-edge",
        "CapEff: 0000000000000000",
        "CapBnd: 0000000000000000",
        "NoNewPrivs: 1",
        "Seccomp: 2",
        "no network",
        "no users",
        "/home:",
        "",
        "/root:",
        "touch: cannot touch '/etc/mine': Read-only file system",
    ]


PAGE_OF_THE_WEB_PROCESS = """
import socket, ssl
context = ssl.create_default_context(cafile="/etc/farhand/web.pem")
with context.wrap_socket(socket.create_connection(("127.0.0.1", 7443)), server_hostname="localhost") as line:
    line.sendall(b"GET / HTTP/1.1\\r\\nHost: localhost:7443\\r\\nConnection: close\\r\\n\\r\\n")
    answer = line.makefile("rb").read().decode()
print(answer.splitlines()[0])
print("<title>" in answer)
"""


@pytest.mark.needs("nsenter", "openssl")
def test_the_web_process_serves_its_page_from_a_sandbox(installation: Installation) -> None:
    script = f"""
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost \\
    -addext subjectAltName=DNS:localhost -keyout /etc/farhand/web.key -out /etc/farhand/web.pem 2>/dev/null
sed -i 's|^#origin = .*|origin = "https://localhost:7443"|' /etc/farhand/farhandd.toml
systemctl start farhand-web.socket
systemctl show --property=ActiveState farhand-web.service
/usr/local/lib/farhand/bin/python -c {shlex.quote(PAGE_OF_THE_WEB_PROCESS)}
web=$(pid farhand-web.service)
stat -c %U "/proc/$web"
grep -E '^(NoNewPrivs|Seccomp|CapBnd|CapEff):' "/proc/$web/status" | tr '\\t' ' '
[ "$(readlink "/proc/$web/ns/net")" = "$(readlink /proc/self/ns/net)" ] || echo "no network"
nsenter --target "$web" --mount sh -c 'ls -A /root; touch /etc/mine' 2>&1 || :
"""
    assert under_systemd(installation.root, script) == [
        "ActiveState=inactive",
        "HTTP/1.1 200 OK",
        "True",
        "farhand-edge",
        "CapEff: 0000000000000000",
        "CapBnd: 0000000000000000",
        "NoNewPrivs: 1",
        "Seccomp: 2",
        "no network",
        "touch: cannot touch '/etc/mine': Read-only file system",
    ]


DROP_IN = """[Service]
User=deploy
Environment=XDG_STATE_HOME=/var/lib XDG_RUNTIME_DIR=/run
"""


AS_DEPLOY = f"""
useradd --create-home deploy
for unit in farhandd farhand-host-key; do
    mkdir -p /etc/systemd/system/$unit.service.d
    echo {shlex.quote(DROP_IN)} >/etc/systemd/system/$unit.service.d/account.conf
done
systemctl daemon-reload
ssh-keygen -q -t ed25519 -N '' -f ~/.ssh/id_ed25519
systemctl enable --quiet --now farhandd.service farhand-edge.socket
runuser --user deploy -- env HOME=/home/deploy farhandd authorize - <~/.ssh/id_ed25519.pub >/dev/null
farhand trust 127.0.0.1 "$(ssh-keygen -lf /var/lib/farhand/host_key.pub | cut -d ' ' -f 2)" >/dev/null
"""


@pytest.mark.needs("useradd", "runuser")
def test_commands_run_as_another_account_if_the_units_say_so(installation: Installation) -> None:
    assert DROP_IN in README.read_text()
    script = """
farhand run deploy@127.0.0.1 -- sh -c 'id -un; pwd; grep CapEff /proc/self/status' | tr '\\t' ' '
farhand run root@127.0.0.1 -- id -un 2>/dev/null || echo "code $?"
"""
    assert under_systemd(installation.root, script, started=AS_DEPLOY) == [
        "deploy",
        "/home/deploy",
        "CapEff: 0000000000000000",
        "code 255",
    ]


GUEST = """
useradd --create-home --shell /bin/sh guest
usermod -p '*' guest
install -D -o guest -g guest -m 644 ~/.ssh/id_ed25519.pub ~guest/.config/farhand/authorized_keys
chown -R guest ~guest/.config
"""


@pytest.mark.needs("useradd", "pgrep")
def test_a_user_logs_in_by_a_key_in_the_home_and_a_worker_of_the_user_serves_both(installation: Installation) -> None:
    script = """
farhand trust 127.0.0.1 "$(farhandd host-key | tail -n 1)" >/dev/null
farhand run guest@127.0.0.1 -- sh -c 'id -un; pwd; grep CapEff /proc/self/status' | tr '\\t' ' '
worker=$(pgrep -u guest -f worker.spawner)
grep -E 'NoNewPrivs|CapEff' "/proc/$worker/status" | tr '\\t' ' '
sed 's/-[0-9].*/-PID-START/; s/^0:://' "/proc/$worker/cgroup" | grep farhandd
kill -STOP "$worker"
farhand ps guest@127.0.0.1 2>&1 || echo "code $?"
farhand run guest@127.0.0.1 -- echo again
"""
    assert under_systemd(installation.root, GUEST + script, started=UNTRUSTED) == [
        "guest",
        "/home/guest",
        "CapEff: 0000000000000000",
        "CapEff: 0000000000000000",
        "NoNewPrivs: 1",
        "/system.slice/farhandd.service/farhand-PID-START",
        "farhand: 127.0.0.1 closed the connection: the service cannot check logins now: a process of the user has not "
        "answered for 4 s; try again in a moment",
        "code 255",
        "again",
    ]
