"""Why something could not be written, for people. No I/O."""

from __future__ import annotations

import errno
import os
from typing import Final

_CAUSES: Final = {
    errno.ENOSPC: "the file system is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "permission denied",
    errno.EPERM: "this is not permitted",
    errno.ENAMETOOLONG: "the name is too long for this file system",
    errno.EMLINK: "the file has as many names (hard links) as the file system allows",
    errno.EIO: "the disk has failed (input/output error)",
    errno.EFBIG: "this is larger than the file system or the limit on file sizes allows",
    errno.ETXTBSY: "this is a program that is running",
    errno.ELOOP: "there is a symbolic link in the place of a directory, and it is not followed",
    errno.ENOTDIR: "there is a file in the place of a directory",
    errno.EISDIR: "there is a directory in its place",
    errno.EMFILE: "too many files are open",
    errno.ENFILE: "too many files are open on this machine",
    errno.EILSEQ: "the file system does not accept this name",
}


MAX_TOLD_ERRNO: Final = 4095
"""The largest number of an error (linux/err.h). The other side may send anything."""


def cause(error: OSError) -> str:
    """Return why a system call has failed, or what `error` says itself if it was not one."""
    number = error.errno
    if number is None:
        return str(error)
    if number > MAX_TOLD_ERRNO:
        return error.strerror or f"error {number}"
    if error.strerror is not None and error.strerror != os.strerror(number):
        return error.strerror
    return _CAUSES.get(number) or os.strerror(number).lower()
