"""The configuration tree: every key, its unit, its bounds and the reason for its default."""

import math
import os
import pwd
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationInfo,
    field_validator,
    model_validator,
)

from farhand_server.config.origin import LOCAL_NAMES, parse_origin
from farhand_server.config.values import (
    ArrayAsTuple,
    ByteSize,
    ConfiguredAddress,
    ConfiguredPath,
    Directories,
    KeyFile,
    Seconds,
    parse_duration,
)


class Section(BaseModel):
    """A part of the tree: frozen, strict, and without undeclared keys.

    Only what is used is built, and then at once: the whole tree, and a policy if there is one.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", validate_default=True, defer_build=True)


def _account(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return pwd.getpwnam(value).pw_uid
    except KeyError:
        raise ValueError("must be the name of an account on this machine, or a uid") from None


EdgeTime = Annotated[float, Field(gt=0, le=3600, allow_inf_nan=False), BeforeValidator(parse_duration)]
"""Seconds within which something must happen. More than an hour would not be a bound."""

Penalty = Annotated[float, Field(ge=0, le=3600, allow_inf_nan=False), BeforeValidator(parse_duration)]
"""Seconds of debt. 0 disables the penalty."""


class EdgeSettings(Section):
    """Limits and timeouts of one edge, modelled on MaxStartups, PerSourceMaxStartups and PerSourcePenalties of
    sshd_config(5)."""

    before_login: int = Field(default=512, ge=1, le=100_000)
    """Places before login: connections that have begun TLS and have not logged in. At 20 KiB each they take 10 MiB.
    sshd's 100 are too few if one client opens 64 at once."""

    before_login_per_source: int = Field(default=128, ge=1, le=100_000)
    """The part of these that may come from one source (an IPv4 address, an IPv6 /64): a quarter, so that one source
    alone cannot keep others out."""

    connections: int = Field(default=8000, ge=1, le=500_000)
    """Connections in total, logged in or not. Each needs two descriptors, so 8,000 fit the unit's 17,408, beside 1,024
    that say nothing yet."""

    tls_deadline: EdgeTime = 10.0
    """Seconds from accept to the first bytes of TLS, and from these to the end of the handshake: a round trip each,
    with a margin for lost packets. Less while many places are taken."""

    login_deadline: EdgeTime = 25.0
    """Seconds from the first bytes to login; less while many places are taken. More than the core's own
    `login.deadline`, because the core can tell the client the reason."""

    penalty_refused: Penalty = 5.0
    """Debt added to a source for a refused login; sshd's `authfail`."""

    penalty_no_login: Penalty = 1.0
    """Debt for a connection that ends before login, or fails in TLS; sshd's `noauth`."""

    penalty_deadline: Penalty = 10.0
    """Debt for reaching a deadline, because that keeps a place from others: all of it after `tls_deadline`, and less
    for a connection that had to give up its place sooner; sshd's `grace-exceeded`."""

    penalty_threshold: Penalty = 15.0
    """Debt at which a source's connections are refused, unless they show a ticket; sshd's `min`. Debt falls by one
    second per second, so three refused logins are free, and after that one every five seconds."""

    penalty_max: Penalty = 60.0
    """The maximum debt of a source. It is refused for at most 45 s after its last failure, which is less than a run
    waits for its client (`runs.grace`), and much less than sshd's `max` of 600: many people share one address."""

    @field_validator("penalty_max")
    @classmethod
    def _above_threshold(cls, penalty_max: float, info: ValidationInfo) -> float:
        threshold = info.data.get("penalty_threshold", 0.0)
        if penalty_max < threshold:
            raise ValueError(f"must not be below penalty_threshold ({threshold:g} s), which no debt would reach")
        return penalty_max

    penalty_sources: int = Field(default=16_384, ge=16, le=1_000_000)
    """Sources in debt that are remembered, in about 4 MiB. Beyond this number, the smallest debts are forgotten."""

    flush: EdgeTime = 10.0
    """Seconds that a side that has stopped reading has to read the last bytes, once the other side has closed."""

    linger: EdgeTime = 2.0
    """Seconds for which the edge keeps reading from a closed connection until the client closes it, too, so that the
    last data sent is not lost to a TCP reset (RFC 1122, section 4.2.2.13)."""

    drain: EdgeTime = 5.0
    """Seconds that logged-in connections have to end after SIGTERM. Below the 10 s that the unit allows for a stop."""


class EdgeSection(EdgeSettings):
    """The section `edge`: the edge's limits and timeouts, its processes, and how edge and core connect."""

    processes: int = Field(default=2, ge=1, le=16)
    """Worker processes that face the network. With two, one that is stuck, crashes or is killed is not everyone's, and
    a second costs 20 MiB. Each can use one processor, which carries 8 Gbit/s or 1,000 logins a second. The limits above
    are those of each process."""

    socket: ConfiguredPath = Path("{runtime}/edge.sock")
    """The Unix socket on which the core listens for edges, and to which an edge connects."""

    account: Annotated[int, BeforeValidator(_account), Field(ge=0)] = Field(default_factory=os.geteuid)
    """The account (name or uid) whose processes the core accepts as edges (default: the service's own)."""


class LoginSettings(Section):
    """Who may log in with a key, and how long a connection may take to do so."""

    authorized_keys: Annotated[tuple[KeyFile, ...], ArrayAsTuple] = Field(default=(), max_length=16)
    """Files in authorized_keys syntax, all of which are read at each login: `{config}/authorized_keys`, and for root's
    service (unless XDG_CONFIG_HOME is set) `SYSTEM_KEY_FILES`. `{user}` stands for the account's name and, in root's
    service, `~` for its home; keys in a file whose name has neither can only log in to the service's own account.
    `~/.ssh/authorized_keys` is read only if it is listed here: a key that was authorized for SSH, with restrictions
    that only sshd knows, must not be able to log in here unnoticed."""

    attempts: int = Field(default=6, ge=1, le=100)
    """Keys tried on one connection before it is closed. 6 is sshd's MaxAuthTries, to which agents are adapted."""

    deadline: Seconds = Field(default=20.0, gt=0, le=600)
    """Seconds from connecting to login: enough to type a passphrase or touch a security key, and far below sshd's
    LoginGraceTime of 120, because nobody types a password here."""

    @model_validator(mode="before")
    @classmethod
    def _key_files(cls, data: object, info: ValidationInfo) -> object:
        # The default depends on the account that the service runs as.
        if isinstance(data, dict) and isinstance(info.context, Directories):
            return {"authorized_keys": list(info.context.key_files)} | data
        return data


class WebSettings(Section):
    """The section `web`: the door for browsers, whose users log in with passkeys."""

    listen: Annotated[tuple[ConfiguredAddress, ...], ArrayAsTuple] = Field(default=(), max_length=16)
    """Network addresses on which `farhandd serve` starts a web process. None by default."""

    origin: Annotated[str | None, BeforeValidator(parse_origin)] = None
    """What browsers call the site, such as `https://farhand.example.net`; its name is the application of the passkeys.
    Without it no passkey logs in."""

    certificate: ConfiguredPath | None = None
    """The site's certificate chain in PEM. The service's own does not serve: browsers accept no Ed25519 key."""

    key: ConfiguredPath | None = None
    """The private key for it, in PEM and without a passphrase."""

    login_deadline: EdgeTime = 90.0
    """Seconds from the WebSocket to login. Somebody has to find a telephone or a security key and touch it; the page
    asks the browser to wait no longer than that. Less while many places are taken."""

    idle: Annotated[float, Field(ge=60, le=7 * 86400), BeforeValidator(parse_duration)] = 12 * 3600.0
    """Seconds without a key or a click after which a browser is logged out: a working day, and not the night after."""

    @model_validator(mode="after")
    def _secure(self) -> "WebSettings":
        if self.listen and self.origin is None:
            raise ValueError("listen needs origin, such as https://farhand.example.net")
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key go together")
        if self.listen and self.certificate is None:
            if not str(self.origin).startswith("http:"):
                raise ValueError("an origin with https:// needs certificate and key")
            if any(address.host not in LOCAL_NAMES for address in self.listen):
                raise ValueError("without certificate and key, listen only on 127.0.0.1, [::1] or localhost")
        return self


class RunSettings(Section):
    """How many runs there may be, how they are stopped, and what is kept of them."""

    max_runs: int = Field(default=1024, ge=1, le=1_000_000)
    """Concurrent runs in the whole service. 1024 runs need about 6,200 descriptors (three pipes, two pidfds and perhaps
    a connection each) and, with full spools, 512 MiB."""

    max_runs_per_connection: int = Field(default=256, ge=1, le=1_000_000)
    """Concurrent runs of one connection: a quarter of the total, so that one client cannot use it all."""

    kill_after: Seconds = Field(default=5.0, ge=0, le=3600)
    """Seconds between TERM and KILL, unless the request sets them."""

    linger: Seconds = Field(default=1.0, ge=0, le=3600)
    """Seconds for which the service waits, after the leader's exit, for the end of processes left behind and of their
    output."""

    max_timeout: Seconds = Field(default=math.inf, gt=0)
    """The maximum duration of any run in seconds, whatever its request says. `inf` means no limit."""

    cgroup: Literal["auto", "always", "never"] = "auto"
    """Whether a run gets its own cgroup, if cgroups are delegated to the service. `auto` means: for runs of other
    users, and for runs with a limit on memory or processes. It costs a millisecond. Without a cgroup, the processes of
    a run are found by marks on them, which a program that wants to hide could remove."""

    grace: Seconds = Field(default=60.0, ge=0, le=366 * 86400)
    """Seconds for which a run waits for its client to reconnect, unless the request sets them: changing networks or
    restarting a router takes less."""

    keep_terminal: Seconds = Field(default=86400.0, ge=0, le=366 * 86400)
    """The same for a run with a terminal, if the policy lets its user detach from runs (`detach`): a day, so that
    last evening's shell is still there in the morning."""

    spool: ByteSize = Field(default=4 << 20, ge=1 << 20, le=1 << 30)
    """Bytes of output held in memory for each stream of a run until its clients have read them; beyond this, the
    program must wait. 4 MiB is also a client's window: 40 MB/s at a round trip of 100 ms."""

    memory: ByteSize = Field(default=512 << 20, ge=1 << 20)
    """Bytes of output, and of stdin that programs have not read, held in memory for all runs together. Beyond this,
    each stream may use 1 MiB, and stdin 64 KiB. Ended runs may use at most half of the memory."""

    max_spool: ByteSize = Field(default=1 << 30, ge=64 << 10)
    """The largest spool on disk, in bytes for each stream. A request for more gets this size, and so does a run that
    the policy requires to be recorded."""

    kept_runs: int = Field(default=1000, ge=0, le=1_000_000)
    """Ended runs whose output is kept, so that a client that lost its connection at the end can reconnect and read
    it."""

    kept_for: Seconds = Field(default=3600.0, ge=0, le=366 * 86400)
    """Seconds for which the output of an ended run is kept; its record and outcome are kept for `history.max_age`."""

    kept_disk: ByteSize = Field(default=4 << 30, ge=0)
    """Bytes on disk that the output of ended runs may use. The oldest output is deleted first."""

    keep_free: ByteSize = Field(default=256 << 20, ge=0)
    """Bytes of the state directory's file system that output leaves free, but at most an eighth of it: the records of a
    history of its default size, so that runs can be started and recorded whatever others have written. Beyond this, a
    spool stays as large as it is and drops its oldest output; half of it may be used by recordings that the policy
    requires, and for the first 256 KiB of any spool."""


class PolicySettings(Section):
    """The section `policy`: who may do what."""

    file: ConfiguredPath | None = None
    """The policy file (`farhandd example policy` describes it). Without one, the service's own account may do
    everything; in root's service, users who log in by key may do everything as themselves; nobody else may do anything.
    There is no default path, because a deleted policy file must be an error rather than a change of policy."""

    environment: Annotated[
        tuple[Annotated[str, StringConstraints(min_length=1, max_length=256, pattern=r"^[^=\x00]+$")], ...],
        ArrayAsTuple,
    ] = Field(default=("*",), max_length=1000)
    """Names of environment variables that a request may set if there is no policy file, as shell patterns (`*`, `?`,
    `[…]`). All names by default, because users who may run any command can set any variable with `env` in the command
    itself."""


class HistorySettings(Section):
    """What is remembered about runs, and for how long. When a bound on number or size is reached, the records of the
    user who has the most are deleted, the oldest ended run's first: nobody loses any who has no more than the bound
    divided by the number of users."""

    required: bool = True
    """Whether to refuse a run whose start cannot be recorded first. Otherwise, runs that start while the disk is full
    are forgotten in a crash, and the same id could then be started twice."""

    max_age: Seconds = Field(default=30 * 86400.0, ge=60, le=10 * 366 * 86400)
    """Seconds for which the record of an ended run is kept: a month, so that last month's job can still be found."""

    max_runs: int = Field(default=100_000, ge=1, le=100_000_000)
    """Records of all users together: enough for a run every 26 s for a month."""

    max_size: ByteSize = Field(default=256 << 20, ge=1 << 20, le=1 << 40)
    """Bytes of all records that are kept: 2.6 KiB for each of `max_runs`. The file is somewhat larger."""


class AuditSettings(Section):
    """The audit log: one line for each login, refusal, start, end, denial, attachment and signal."""

    commands: Literal["argv", "hash"] = "argv"
    """Whether a line shows a command's arguments, or only their SHA-256."""

    required: bool = False
    """Whether to refuse a run whose start cannot be written to the audit log. Off by default, because a full disk would
    stop all work."""

    max_size: ByteSize = Field(default=64 << 20, ge=64 << 10, le=1 << 40)
    """Bytes of one file before the next file is started: about 150,000 lines, which `farhandd audit verify` reads in a
    second."""

    keep: int = Field(default=8, ge=1, le=10_000)
    """Number of files kept, including the current one: half a gigabyte, more than half a million runs."""

    keep_for: Seconds = Field(default=86400.0, ge=60, le=10 * 366 * 86400)
    """Seconds for which every entry is kept, whatever others do: a day, so that who looks in the morning finds the
    night. Usually the files reach back much further. From this and their size follows how much each user may write
    before entries are only counted, so a longer time needs more or larger files."""


class DrainSettings(Section):
    """The section `drain`: how the service stops."""

    grace: Seconds = Field(default=10.0, ge=0, le=86400)
    """Seconds that running commands have to end on their own once the service is told to stop. After that they are
    stopped like any other run, so the service stops in little more than `grace` + `runs.kill_after`."""


class LogSettings(Section):
    """The section `log`: what is logged to stderr, and how."""

    format: Literal["auto", "keyvalue", "json"] = "auto"
    """`keyvalue` is for people and journald, `json` for collectors; `auto` is `keyvalue`."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least severe level that is logged."""


class ServiceConfig(Section):
    """The whole configuration of `farhandd`."""

    socket: ConfiguredPath = Path("{runtime}/farhandd.sock")
    """The Unix socket for clients on this machine, which are identified by their peer credentials."""

    listen: Annotated[tuple[ConfiguredAddress, ...], ArrayAsTuple] = Field(default=(), max_length=64)
    """Network addresses on which `farhandd serve` starts an edge. None by default: a service listens on the network
    only if it is told to."""

    state_dir: ConfiguredPath = Path("{state}")
    """The directory for everything that must survive a restart: host key, history, audit log, spools."""

    edge: EdgeSection
    web: WebSettings
    login: LoginSettings
    runs: RunSettings
    policy: PolicySettings
    history: HistorySettings
    audit: AuditSettings
    drain: DrainSettings
    log: LogSettings

    @model_validator(mode="before")
    @classmethod
    def _every_section(cls, data: object) -> object:
        return {name: {} for name in sections(cls)} | data if isinstance(data, dict) else data


def sections(model: type[Section]) -> dict[str, type[Section]]:
    """Return the sections directly inside `model`, by name."""
    kinds = {name: field.annotation for name, field in model.model_fields.items()}
    return {name: kind for name, kind in kinds.items() if isinstance(kind, type) and issubclass(kind, Section)}
