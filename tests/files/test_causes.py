"""Why something could not be written, for people."""

from __future__ import annotations

import errno
import os

import pytest

from farhand_files.causes import cause


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), b"file"), "the file system is full"),
        (OSError(errno.EDQUOT, os.strerror(errno.EDQUOT)), "the disk quota is used up"),
        (OSError(errno.EINVAL, os.strerror(errno.EINVAL)), "invalid argument"),
        (OSError(errno.ENOSPC, "there is no room"), "there is no room"),
        (OSError("something else"), "something else"),
    ],
)
def test_a_cause_is_a_plain_sentence(error: OSError, text: str) -> None:
    assert cause(error) == text


def test_a_number_of_no_error_that_the_other_side_has_sent_does_no_harm() -> None:
    assert cause(OSError(0xFFFFFFFF, "the disk is gone")) == "the disk is gone"
    assert cause(OSError(0xFFFFFFFF, "")) == "error 4294967295"
