"""Which requests are the same request: what makes a start that is sent again the same run, and another a conflict."""

from __future__ import annotations

from hashlib import sha256

from . import messages as m


def request_fingerprint(request: m.RunRequest) -> bytes:
    """Return 32 bytes (SHA-256, FIPS 180-4), equal for two requests if and only if they differ at most in `attachment`
    and `window`, which are the channel's and not the run's.

    Fields that have their default are left out, so that what a history keeps still compares once `run` has gained a
    field.
    """
    return sha256(request.model_dump_json(exclude_defaults=True, exclude={"attachment", "window"}).encode()).digest()
