"""The arguments of put, get and sync decide what is requested."""

from __future__ import annotations

import os
from typing import Any

import pytest

from farhand_client.files.places import Remote
from farhand_client.files.requests import get_plan, put_plan, sync_plan


def test_a_put_writes_to_one_path_of_the_service() -> None:
    plan = put_plan("a", "b/", {})
    assert (plan.options.operation, plan.options.paths, plan.options.into) == ("put", (b"b/",), False)
    assert plan.repeatable
    assert put_plan(["a", "b"], "c", {}).options.into


def test_a_get_reads_paths_of_the_service() -> None:
    plan = get_plan(["a", Remote("b")], "here", {"checksum": True})
    assert (plan.options.operation, plan.options.paths) == ("get", (b"a", b"b"))
    assert (plan.options.into, plan.options.checksum) == (True, True)
    assert not get_plan("a", "here", {}).options.into
    assert get_plan("a*", "here", {}).options.into, "it may stand for several files"
    assert not get_plan("a*", "here", {"into": False}).options.into


def test_an_open_file_can_be_used_once() -> None:
    reading, writing = os.pipe()
    try:
        assert not put_plan(reading, "b", {}).repeatable
        assert not put_plan(["a", reading], "b", {}).repeatable
        assert not get_plan("a", writing, {}).repeatable
    finally:
        os.close(reading)
        os.close(writing)


def test_a_sync_goes_where_the_remote_is() -> None:
    put, get = sync_plan("site/", Remote("/srv"), {"delete": True}), sync_plan(Remote("/srv/"), "site", {})
    assert (put.options.operation, put.options.paths, put.options.delete, put.options.delta) == (
        "put", (b"/srv",), True, True,
    )  # fmt: skip
    assert (get.options.operation, get.options.paths, get.options.delete) == ("get", (b"/srv/",), False)


@pytest.mark.parametrize(("source", "destination"), [("a", "b"), (Remote("a"), Remote("b"))])
def test_a_sync_is_between_the_two_machines(source: Any, destination: Any) -> None:
    with pytest.raises(ValueError, match="one of source and destination must be a Remote"):
        sync_plan(source, destination, {})


@pytest.mark.parametrize(("source", "destination"), [(["a"], Remote("b")), (Remote("a"), 1)])
def test_a_sync_is_between_paths(source: Any, destination: Any) -> None:
    with pytest.raises(TypeError, match="it must be str, bytes or a path"):
        sync_plan(source, destination, {})
