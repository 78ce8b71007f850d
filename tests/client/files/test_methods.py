"""`put`, `get` and `sync` of a client request what they were asked for, and refuse wrong arguments at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from farhand_client import Client, Remote, RequestRefused, Transfer
from farhand_protocol import messages as m
from farhand_protocol.errors import ErrorCode
from tests.support.fake_service import refusing
from tests.support.fake_transfer_worker import transferring


@pytest.mark.parametrize(
    ("arguments", "access", "paths"),
    [
        (("put", "a", "b"), "write", (b"b",)),
        (("get", ["a", "b*"], "c"), "read", (b"a", b"b*")),
        (("sync", "a/", Remote("b")), "write", (b"b",)),
        (("sync", Remote("a/"), "b"), "read", (b"a/",)),
    ],
)
async def test_each_requests_a_run_that_may_touch_these_paths(
    tmp_path: Path, arguments: tuple[Any, ...], access: str, paths: tuple[bytes, ...]
) -> None:
    async with transferring(tmp_path, refusing(ErrorCode.DENIED, "no")) as (client, service):
        method, *rest = arguments
        transfer = getattr(client, method)(*rest)
        assert isinstance(transfer, Transfer)
        assert service.requests == {}, "it begins when it is awaited"
        with pytest.raises(RequestRefused, match="no"):
            await transfer
        (request,) = service.requests.values()
        assert request.transfer == m.TransferRequest.model_validate({"access": access, "paths": paths})


@pytest.mark.parametrize("method", [Client.put, Client.get, Client.sync])
async def test_wrong_arguments_are_refused_before_anything_is_awaited(tmp_path: Path, method: Any) -> None:
    async with transferring(tmp_path, refusing(ErrorCode.DENIED, "no")) as (client, _):
        destination = Remote("b") if method is Client.sync else "b"
        with pytest.raises(TypeError, match="progress is int; it must be a function"):
            method(client, "a", destination, progress=3)
        with pytest.raises(TypeError, match="unexpected keyword argument 'checksums'; did you mean 'checksum'"):
            method(client, "a", destination, checksums=True)
