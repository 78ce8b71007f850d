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

from farhand_server.config.paths import Directories
from farhand_server.config.values import Array, ConfiguredPath, KeyFile, Listen, Seconds, Size, parse_duration
from farhand_server.edge.settings import EdgeSettings


class Section(BaseModel):
    """A part of the tree: frozen, strict, and with no key that is not declared."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", validate_default=True)


def _account(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return pwd.getpwnam(value).pw_uid
    except KeyError:
        raise ValueError("must be the name of an account on this machine, or a uid") from None


class EdgeSection(Section, EdgeSettings):
    """The edge's own bounds and times, and how edge and core meet."""

    socket: ConfiguredPath = Path("{runtime}/edge.sock")
    """Where the core listens for edges, and an edge finds the core."""

    account: Annotated[int, BeforeValidator(_account), Field(ge=0)] = Field(default_factory=os.geteuid)
    """The account (name or uid) whose processes the core takes for an edge; by default the service's own."""

    @field_validator("*", mode="before")
    @classmethod
    def _durations(cls, value: object, info: ValidationInfo) -> object:
        # The edge knows nothing of TOML: its fractional numbers are seconds, all of them.
        assert info.field_name is not None
        return parse_duration(value) if cls.model_fields[info.field_name].annotation is float else value


class LoginSettings(Section):
    """Who may log in with a key, and how long a stranger is listened to."""

    authorized_keys: Annotated[tuple[KeyFile, ...], Array] = Field(default=(), max_length=16)
    """Files in authorized_keys syntax, all of them read at each login: `{config}/authorized_keys`, for a service of the
    machine (root's, unless XDG_CONFIG_HOME is set) those of `SYSTEM_KEY_FILES`. `{user}` is the account's name and, in
    a service of root's, `~` its home; a file named with neither admits to the service's own account alone.
    `~/.ssh/authorized_keys` is not among them unless written here: a key given for SSH with restrictions of sshd's own
    must not log in here unnoticed."""

    attempts: int = Field(default=6, ge=1, le=100)
    """Keys tried on one connection before it is closed; 6 is sshd's MaxAuthTries, which agents know."""

    deadline: Seconds = Field(default=20.0, gt=0, le=600)
    """Seconds from the connection to a login; room for a passphrase or a touch of a security key, and
    far below sshd's LoginGraceTime of 120, since nobody types a password here."""

    @model_validator(mode="before")
    @classmethod
    def _key_files(cls, data: object, info: ValidationInfo) -> object:
        # A default that depends on whose service it is.
        if isinstance(data, dict) and isinstance(info.context, Directories):
            return {"authorized_keys": list(info.context.key_files)} | data
        return data


class RunSettings(Section):
    """Bounds on what runs at once, and how a run ends."""

    max_runs: int = Field(default=1024, ge=1, le=1_000_000)
    """Runs at once in the whole service. 1024 keep about 6,200 descriptors (three pipes, two pidfds and perhaps a
    connection each) and, with full spools, 512 MiB."""

    max_runs_per_connection: int = Field(default=256, ge=1, le=1_000_000)
    """Runs at once on one connection: a quarter of the whole, so that one client cannot take it all."""

    kill_after: Seconds = Field(default=5.0, ge=0, le=3600)
    """Seconds between TERM and KILL where the request names none."""

    linger: Seconds = Field(default=1.0, ge=0, le=3600)
    """Seconds for which output held open by a grandchild is waited for after the leader's exit."""

    max_timeout: Seconds = Field(default=math.inf, gt=0)
    """The longest time, in seconds, that any run may take, whatever its request says; `inf` sets no bound."""

    cgroup: Literal["auto", "always", "never"] = "auto"
    """Whether a run has a cgroup of its own, where the service has one delegated to it: `auto` for runs of other users
    and those with a bound on memory or processes. It takes a millisecond. Without one the processes of a run are
    found by what they bear, which a program that means to hide could wipe off."""

    grace: Seconds = Field(default=60.0, ge=0, le=366 * 86400)
    """Seconds that a run whose client is gone waits for it to come back, where the request names none: a
    changed network or a restarted router takes less."""

    keep_terminal: Seconds = Field(default=86400.0, ge=0, le=366 * 86400)
    """The same for a run with a terminal, where the policy lets its user leave runs behind (`detach`): a day, so
    that the shell of an evening is there in the morning."""

    spool: Size = Field(default=4 << 20, ge=1 << 20, le=1 << 30)
    """Bytes of output kept in memory for each stream of a run, until its clients have them, before its writer
    is made to wait. 4 MiB are what a client lets be under way: 40 MB/s at a round trip of 100 ms."""

    memory: Size = Field(default=512 << 20, ge=1 << 20)
    """Bytes of output kept in memory for all runs together; beyond it each stream has 1 MiB. Runs that are over
    get at most half of it."""

    max_spool: Size = Field(default=1 << 30, ge=64 << 10)
    """The largest spool on disk, in bytes for each stream, that a request gets; one that asks for more gets this, and
    so does what the policy wants recorded."""

    kept_runs: int = Field(default=1000, ge=0, le=1_000_000)
    """Runs that are over whose output is still kept: a client that was cut off at the end comes back for it."""

    kept_for: Seconds = Field(default=3600.0, ge=0, le=366 * 86400)
    """Seconds for which the output of a run that is over is kept; that it was, and how it ended, for
    `history.max_age`."""

    kept_disk: Size = Field(default=4 << 30, ge=0)
    """Bytes on disk that the output of runs that are over may take; the oldest goes first."""


class PolicySettings(Section):
    """Who may do what."""

    file: ConfiguredPath | None = None
    """The policy file (`deploy/policy.toml` describes it). None by default: then the service's own account may do
    everything, with root's service also whoever logs in by key, as themselves, and nobody else anything. No path is
    looked for by itself: a policy that is lost must be an error, not a change of policy."""

    environment: Annotated[
        tuple[Annotated[str, StringConstraints(min_length=1, max_length=256, pattern=r"^[^=\x00]+$")], ...],
        Array,
    ] = Field(default=("*",), max_length=1000)
    """Names of environment variables that a request may set where there is no policy file, as shell patterns (`*`,
    `?`, `[…]`). All by default: who may run anything can set any of them with `env` in the command itself."""


class HistorySettings(Section):
    """What is remembered of runs, and for how long. Whichever bound is reached first, the oldest ended runs go."""

    required: bool = True
    """Refuse to start what cannot be written down before. Without it, a full disk lets runs start that a crash forgets,
    and the same id could then start twice."""

    max_age: Seconds = Field(default=30 * 86400.0, ge=60, le=10 * 366 * 86400)
    """Seconds for which an ended run stays known: a month, so that last month's job can be asked about."""

    max_runs: int = Field(default=100_000, ge=1, le=100_000_000)
    """Ended runs that stay known: a run every 26 s for a month."""

    max_size: Size = Field(default=256 << 20, ge=1 << 20, le=1 << 40)
    """Bytes of the records kept: 2.6 KiB for each of `max_runs`. The file is somewhat larger."""


class AuditSettings(Section):
    """The audit log: one line for each login, refusal, start, end, denial, attachment and signal."""

    commands: Literal["argv", "hash"] = "argv"
    """Whether a line shows a command's arguments, or their SHA-256 alone."""

    required: bool = False
    """Refuse to start what cannot be written to the audit log. Off, since a full disk would stop all work."""

    max_size: Size = Field(default=64 << 20, ge=64 << 10, le=1 << 40)
    """Bytes of one file before the next is begun: some 150,000 lines, read in a second by `farhandd audit verify`."""

    keep: int = Field(default=8, ge=1, le=10_000)
    """Files kept, the one being written among them: half a gigabyte, over half a million runs."""


class DrainSettings(Section):
    """How the service stops."""

    grace: Seconds = Field(default=10.0, ge=0, le=86400)
    """Seconds that running commands are given to end by themselves once the service is told to stop. After
    it they are stopped like any other run: a stop takes at most `grace` + `runs.kill_after` and a little."""


class LogSettings(Section):
    """What is logged to stderr, and how."""

    format: Literal["auto", "keyvalue", "json"] = "auto"
    """`keyvalue` for people and journald, `json` for collectors; `auto` is `keyvalue`."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least severe level that is logged."""


class Config(Section):
    """The whole configuration of `farhandd`."""

    socket: ConfiguredPath = Path("{runtime}/farhandd.sock")
    """The Unix socket for clients on this machine, who are known by their peer credentials."""

    listen: Annotated[tuple[Listen, ...], Array] = Field(default=(), max_length=64)
    """Network addresses on which `farhandd serve` starts an edge; none by default: a service faces the
    network only where it was told to."""

    state_dir: ConfiguredPath = Path("{state}")
    """Where the service keeps what must survive a restart, the host key first."""

    edge: EdgeSection
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
    """The sections directly inside *model*, by name."""
    kinds = {name: field.annotation for name, field in model.model_fields.items()}
    return {name: kind for name, kind in kinds.items() if isinstance(kind, type) and issubclass(kind, Section)}
