"""Reads small files of the user, without ever blocking even if a file turns out to be a FIFO or a device."""

from __future__ import annotations

import os
import stat

TYPE_CHECKING = False  # `typing` and `pathlib` take longer to import than a file takes to read
if TYPE_CHECKING:
    from pathlib import Path


def read_small_file(path: Path | str, max_size: int, *, private: bool = False) -> bytes | None:
    """Return the contents of a regular file, or None if it does not exist.

    With `private`, a file that belongs to the user must not be accessible to others, as ssh requires of private keys.
    Raises ValueError, with a sentence for the user, if the file is not regular, larger than `max_size` bytes,
    unreadable or not private. Never blocks: a FIFO is opened without waiting and refused.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ValueError(f"cannot open {path}: {error.strerror}") from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ValueError(f"{path} is not a regular file")
        if private and status.st_uid == os.getuid() and (mode := stat.S_IMODE(status.st_mode)) & 0o077:
            raise ValueError(f"{path} is accessible to others (mode {mode:04o}); run: chmod 600 {path}")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            data = file.read(max_size + 1)
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from None
    finally:
        os.close(descriptor)
    if len(data) > max_size:
        raise ValueError(f"{path} is larger than {max_size} bytes")
    return data
