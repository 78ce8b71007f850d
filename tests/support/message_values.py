"""Strategies (hypothesis) for the JSON of every message, built from the models: valid values, values at their bounds,
and, now and then, values that are wrong."""

from __future__ import annotations

import inspect
import json
from base64 import b64encode
from enum import EnumMeta
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, MaxLen, MinLen
from hypothesis import strategies as st
from pydantic import BaseModel, PlainValidator, ValidationError
from pydantic.fields import FieldInfo

from farhand_protocol import messages as m

MESSAGES: tuple[type[m.Message], ...] = get_args(m.AnyMessage)

Values = st.SearchStrategy[Any]

WRONG: Values = st.one_of(
    st.sampled_from([None, True, False, -1, 0, 1, 1.0, -0.0, 0.5, 1e308, 10**399, -(10**399), 1 << 63]),
    st.sampled_from([float("inf"), float("nan"), "", "x", "\ud800", "\0", "é\n"]),
    st.sampled_from([[], [1], [[]], {}, {"base64": "/w=="}, {"base64": "YQ=="}, {"base64": 1}, {"a": 1}]),
)
"""Values that are wrong for most fields."""


@cache
def message_json(model: type[BaseModel], wrong: int) -> Values:
    """Return objects for `model`. About one in `wrong` values is wrong, one in `wrong` objects has a field too many or
    too few; none if it is 0."""
    required: dict[str, Values] = {}
    optional: dict[str, Values] = {}
    for name, info in model.model_fields.items():
        inner = _often(_values(info.annotation, info.metadata, wrong, info.discriminator), wrong)
        is_tag = get_origin(info.annotation) is Literal and len(get_args(info.annotation)) == 1
        (required if is_tag or (info.is_required() and not wrong) else optional)[name] = inner
    objects: Values = st.fixed_dictionaries(required, optional=optional)
    if model.__pydantic_decorators__.model_validators and not wrong:
        objects = objects.filter(lambda fields: _is_valid(model, fields))
    if not wrong:
        return objects
    extra = st.dictionaries(st.sampled_from(["extra", "type", "status", "id", "base64"]), WRONG, max_size=1)
    return st.builds(lambda fields, more: fields | more, objects, _often(st.just({}), wrong, extra))


def _is_valid(model: type[BaseModel], fields: Any) -> bool:
    try:
        model.model_validate_json(json.dumps(fields))
    except ValidationError:
        return False
    return True


def _often(values: Values, wrong: int, other: Values = WRONG) -> Values:
    return st.integers(0, wrong - 1).flatmap(lambda at: values if at else other) if wrong else values


def _values(annotation: Any, metadata: list[Any], wrong: int, discriminator: Any = None) -> Values:
    if get_origin(annotation) is Annotated:
        annotation, *inner = get_args(annotation)
        return _values(annotation, inner + metadata, wrong, discriminator)
    parts = [each for part in metadata for each in (part.metadata if isinstance(part, FieldInfo) else [part])]
    for part in metadata:
        if isinstance(part, FieldInfo) and part.discriminator:
            discriminator = part.discriminator
    if get_origin(annotation) in (Union, UnionType):
        members = get_args(annotation)
        if NoneType in members:
            rest = [member for member in members if member is not NoneType]
            return st.none() | _values(rest[0], metadata, wrong, discriminator)
        return st.one_of([message_json(each, wrong) for each in members])
    least, most = _bound(parts, MinLen, "min_length", 0), _bound(parts, MaxLen, "max_length", None)
    for part in parts:
        if isinstance(part, PlainValidator):
            return _bytes(inspect.unwrap(part.func).__name__, least, most)
    pattern = next((vars(part)["pattern"] for part in parts if "pattern" in getattr(part, "__dict__", ())), None)
    if annotation is bool:
        return st.booleans()
    if annotation in (int, float):
        return _numbers(annotation, parts, wrong)
    if pattern is not None:
        return st.from_regex(pattern.replace("$", r"\Z"), alphabet=st.characters(max_codepoint=127))
    if annotation is str:
        sized = st.text(min_size=least, max_size=min(most or 40, 40))
        return sized | st.sampled_from(["x" * (most or 3000), "é" * (most or 3000)])
    if isinstance(annotation, EnumMeta):
        return st.sampled_from(list(annotation.__members__.values())).map(str)
    if get_origin(annotation) is Literal:
        return st.sampled_from(get_args(annotation))
    if get_origin(annotation) is tuple:
        items = get_args(annotation)
        if items[-1] is Ellipsis:
            item = _often(_values(items[0], [], wrong), 3 * wrong)
            usual: Values = st.lists(item, min_size=least, max_size=min(most or 4, 4))
            many = st.builds(lambda one, more: [one] * (most + more), item, st.integers(0, bool(wrong)))
            return usual | many if most is not None and most <= 64 else usual
        return st.tuples(*(_often(_values(item, [], wrong), 3 * wrong) for item in items))
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return message_json(annotation, wrong)
    raise TypeError(f"no strategy for {annotation}")


def _bound(parts: list[Any], kind: type, attribute: str, otherwise: Any) -> Any:
    return next((getattr(part, attribute) for part in parts if isinstance(part, kind)), otherwise)


def _numbers(kind: type, parts: list[Any], wrong: int) -> Values:
    above, most = _bound(parts, Gt, "gt", None), _bound(parts, Le, "le", 1 << 40)
    least = _bound(parts, Ge, "ge", above)
    edges = [least, most] if above is None else [most]
    if wrong:
        edges += [least - 1, most + 1, least]
    if kind is int:
        return st.integers(least, most) | st.sampled_from(edges)
    inside = st.floats(least, most, exclude_min=above is not None, allow_subnormal=False)
    return inside | st.sampled_from([*edges, *([-0.0] if above is None or wrong else [])])


def _in_json(value: bytes) -> Any:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"base64": b64encode(value).decode()}


def _bytes(form: str, least: int, most: int | None) -> Values:
    if form == "base64_from_json":
        sized = st.binary(min_size=least, max_size=min(most or 64, 64))
        return sized.map(lambda value: b64encode(value).decode())
    argument = (st.binary(max_size=8) | st.text(max_size=8).map(str.encode)).map(
        lambda value: value.replace(b"\0", b"")
    )
    if form == "argument_from_json":
        return argument.map(_in_json)
    if form == "arguments_from_json":
        return st.lists(argument.map(_in_json), min_size=least, max_size=4)
    assert form == "environment_from_json"
    names = argument.map(lambda value: value.replace(b"=", b"") or b"A")
    pairs = st.dictionaries(names, argument, max_size=4)
    return pairs.map(lambda pairs: [[_in_json(name), _in_json(value)] for name, value in pairs.items()])
