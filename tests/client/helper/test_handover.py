"""The layout of a front's message, and where the front looks for the helper."""

from __future__ import annotations

import re
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import farhand_client.helper
from farhand_client.helper import front, handover
from farhand_client.helper.handover import (
    HEADER,
    MAX_MESSAGE,
    VERSION,
    Command,
    parse_environment,
    parse_header,
    parse_strings,
)

TEXTS = st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20), max_size=6)


@given(words=TEXTS, standard=st.lists(st.sampled_from(range(3)), unique=True).map(sorted))
def test_what_the_python_front_sends_is_what_a_child_reads(words: list[str], standard: list[int]) -> None:
    message = front.message_of(words, standard)
    parsed = parse_header(message[: HEADER.size])
    assert parsed is not None
    length, found, arguments = parsed
    assert (length, found, arguments) == (len(message) - HEADER.size, standard, len(words))
    command = parse_strings(message[HEADER.size :], arguments, found)
    assert command is not None
    assert command.arguments == [word.encode() for word in words]
    assert command.open == standard


@pytest.mark.parametrize(
    ("length", "version", "standard"),
    [(0, VERSION + 1, 7), (MAX_MESSAGE, VERSION, 7), (0, VERSION, 8)],
)
def test_another_header_is_refused(length: int, version: int, standard: int) -> None:
    assert parse_header(struct.pack("=IHHI", length, version, standard, 0)) is None


@pytest.mark.parametrize(("data", "arguments"), [(b"a", 1), (b"a\0b", 1), (b"a\0", 2)])
def test_strings_that_are_cut_are_refused(data: bytes, arguments: int) -> None:
    assert parse_strings(data, arguments, []) is None


def test_no_arguments_and_no_environment_are_nothing_unusual() -> None:
    assert parse_strings(b"", 0, [0]) == Command([], {}, [0])


def test_of_a_variable_that_is_there_twice_the_first_counts() -> None:
    assert parse_environment([b"A=1", b"A=2", b"B", b"=3", b"C="]) == {b"A": b"1", b"C": b""}


@pytest.mark.parametrize("name", ["VERSION", "MAX_MESSAGE", "CLAIM_TIMEOUT", "ANSWER_TIMEOUT"])
def test_both_fronts_have_the_same_numbers(name: str) -> None:
    source = Path(farhand_client.helper.__file__).with_name("front.c").read_text()
    found = re.search(rf"#define {name} (\d+)", source)
    assert found is not None
    assert int(found[1]) == vars(front)[f"_{name}"]
    assert getattr(handover, name, int(found[1])) == int(found[1])


def test_both_fronts_have_the_same_commands_served() -> None:
    source = Path(farhand_client.helper.__file__).with_name("front.c").read_text()
    listed = source[source.index("SERVED[] = {") : source.index("};", source.index("SERVED[] = {"))]
    assert set(re.findall(r'"(\w+)"', listed)) == vars(front)["_SERVED"]


def test_the_answers_of_a_child_are_the_same_in_c() -> None:
    source = Path(farhand_client.helper.__file__).with_name("front.c").read_text()
    for name in ("READY", "BEGUN", "REFUSED", "OWN_STOPS", "NO_STOPS", "STOP_JOB", "EXITED", "DIED"):
        assert f"{name} = '{getattr(handover, name).decode()}'" in source
        assert vars(front)[f"_{name}"] == getattr(handover, name)
    assert f"#define CONTINUED {handover.CONTINUED}\n" in source
    assert f"#define NOT_STOPPED (1ull << {handover.NOT_STOPPED.bit_length() - 1})\n" in source
    assert (vars(front)["_CONTINUED"], vars(front)["_NOT_STOPPED"]) == (handover.CONTINUED, handover.NOT_STOPPED)


def test_the_front_in_c_stays_one_small_file() -> None:
    lines = Path(farhand_client.helper.__file__).with_name("front.c").read_text().splitlines()
    assert len(lines) <= 400
    assert set(re.findall(r'#include "(.*)"', "\n".join(lines))) == set()
