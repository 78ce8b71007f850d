"""Read a small file of the user's without being held up by what it turns out to be."""

import os
import stat
from pathlib import Path


def read_small_file(path: Path, max_size: int, *, private: bool = False) -> bytes | None:
    """The contents of a regular file, or None where there is none.

    With `private`, a file of the user's own must not be open to anyone else, as ssh demands of private keys.
    Raises ValueError with a sentence for a file that is not regular, over `max_size` bytes, unreadable or not
    private. Never waits: a FIFO is opened without blocking and refused.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ValueError(f"{path} cannot be opened: {error.strerror}") from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ValueError(f"{path} is not a regular file")
        if private and status.st_uid == os.getuid() and (mode := stat.S_IMODE(status.st_mode)) & 0o077:
            raise ValueError(f"{path} is open to others (mode {mode:04o}); run: chmod 600 {path}")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            data = file.read(max_size + 1)
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from None
    finally:
        os.close(descriptor)
    if len(data) > max_size:
        raise ValueError(f"{path} is longer than {max_size} bytes")
    return data
