"""Where files live: the XDG directories of an ordinary user, the system's for root.

An XDG variable that is set to an absolute path is obeyed for root too, so that two services can live
side by side under one account (XDG Base Directory Specification 0.8, which also says that relative
paths in these variables are to be ignored).
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

SYSTEM_CONFIG_FILE = Path("/etc/farhand/farhandd.toml")

SYSTEM_KEY_FILES = ("/etc/farhand/authorized_keys.d/{user}", "~/.config/farhand/authorized_keys")
"""Where a service of the machine looks for the keys of each account. The administrator's file comes first: a line
there that restricts a key holds, whatever the user writes about the same key."""


@dataclass(frozen=True)
class Directories:
    """The directories that `{config}`, `{state}` and `{runtime}` stand for in a configured path.

    None of them need exist yet.
    """

    home: Path
    config: Path
    state: Path
    runtime: Path
    root: bool = False
    """Whether they are those of a service of root's, which may serve every account of the machine."""
    key_files: tuple[str, ...] = ("{config}/authorized_keys",)
    """What `login.authorized_keys` holds where it is not written."""

    @classmethod
    def of(cls, environ: Mapping[str, str], uid: int, home: Path) -> "Directories":
        """The directories of the account *uid* with *home*, as *environ* and the XDG rules put them.

        There is no lasting stand-in for a missing XDG_RUNTIME_DIR (cron jobs and `su` have none), so an
        ordinary user's runtime directory is then the state directory.
        """

        def base(variable: str, default: Path) -> Path:
            value = environ.get(variable, "")
            return Path(value if value.startswith("/") else default, "farhand")

        root = uid == 0
        state = base("XDG_STATE_HOME", Path("/var/lib") if root else home / ".local/state")
        return cls(
            home=home,
            config=base("XDG_CONFIG_HOME", home / ".config"),
            state=state,
            runtime=base("XDG_RUNTIME_DIR", Path("/run") if root else state.parent),
            root=root,
            key_files=SYSTEM_KEY_FILES if root and not environ.get("XDG_CONFIG_HOME") else cls.key_files,
        )

    def expand(self, text: str) -> Path:
        """The path that *text* writes: absolute, or beginning with `~`, `{config}`, `{state}` or `{runtime}`.

        Raises ValueError, with a sentence, for anything else and for a NUL byte.
        """
        if "\0" in text:
            raise ValueError("a path cannot hold a NUL byte")
        first, slash, rest = text.partition("/")
        known = {"~": self.home, "{config}": self.config, "{state}": self.state, "{runtime}": self.runtime}
        if text.startswith("/"):
            return Path(os.path.normpath(text))
        if first in known:
            return Path(os.path.normpath(known[first] / rest)) if slash else known[first]
        raise ValueError(f"must be an absolute path, or begin with {', '.join(known)}")
