"""Generates `farhand_protocol.plain.schema` from the models: python -m tests.support.plain_schema

Whatever it finds in a model and does not know is an error, so that no check can get lost.
"""

from __future__ import annotations

import re
import textwrap
from enum import EnumMeta
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, MaxLen, MinLen
from pydantic import AfterValidator, BaseModel, BeforeValidator, FailFast, PlainSerializer, PlainValidator
from pydantic.fields import FieldInfo

from farhand_protocol import messages as m
from farhand_protocol import plain
from farhand_protocol.errors import ErrorCode
from farhand_protocol.plain import codec

PATH = Path(plain.__file__).parent / "schema.py"

HEAD = '''"""The fields of all messages. Generated from the models in `messages`; do not edit, but run:

    python -m tests.support.plain_schema

Each field has a name, its rule, whether it may be null, and what stands for it if it is missing: "required" (nothing),
"default" and the value, or "empty" (a nested model without fields). `codec` explains the rules. All of it is constant,
so that Python loads it at once.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final
'''
_PART = re.compile(r"(?P<chars>\[[^\]]+\]|-)(?:\{(?P<least>\d+)(?:,(?P<most>\d+))?\})?")


def schema() -> str:
    """Return the source of the module, as ruff formats it."""
    models: dict[str, Any] = {}
    messages = {}
    for model in get_args(m.AnyMessage):
        messages[get_args(model.model_fields["type"].annotation)[0]] = model.__name__
        _add(model, models)
    with_rules = {name for name, model in _found.items() if model.__pydantic_decorators__.model_validators}
    if with_rules != codec.FAULTS.keys():
        raise TypeError(f"plain.codec.FAULTS lacks, or has too much: {with_rules ^ codec.FAULTS.keys()}")
    lines = [*HEAD.splitlines(), "", "# fmt: off"]
    lines += [
        "MESSAGES: Final[dict[str, str]] = {",
        *_wrapped(" ".join(f"{kind!r}: {name!r}," for kind, name in messages.items()), 4, 4),
        "}",
    ]
    lines += [
        '"""The model of each type of message."""',
        "",
        "MODELS: Final[dict[str, tuple[tuple[Any, ...], ...]]] = {",
    ]
    for name, fields in models.items():
        lines += [f"    {name!r}: (", *(line for field in fields for line in _lines(field)), "    ),"]
    lines += ["}", '"""The fields of each model, in the order in which they are checked."""', ""]
    return "\n".join(lines).replace("'", '"')


def _lines(field: tuple[Any, ...]) -> list[str]:
    return _wrapped(f"{field!r},", 8, 9)


def _wrapped(text: str, first: int, others: int) -> list[str]:
    return textwrap.wrap(
        text, 120, initial_indent=" " * first, subsequent_indent=" " * others, break_long_words=False,
        break_on_hyphens=False,
    )  # fmt: skip


_found: dict[str, type[BaseModel]] = {}


def _add(model: type[BaseModel], models: dict[str, Any]) -> str:
    name = model.__name__
    if name not in _found:
        _found[name] = model
        config = model.model_config
        if not (config.get("strict") and config.get("extra") == "forbid" and config.get("allow_inf_nan") is False):
            raise TypeError(f"{name} is not strict")
        if model.__pydantic_decorators__.field_validators or model.__pydantic_decorators__.field_serializers:
            raise TypeError(f"{name} has validators of its own for single fields")
        fields = tuple(_field(key, info, models) for key, info in model.model_fields.items())
        models[name] = fields
    if _found[name] is not model:
        raise TypeError(f"two models are called {name}")
    return name


def _field(name: str, info: FieldInfo, models: dict[str, Any]) -> tuple[Any, ...]:
    if info.alias or info.exclude:
        raise TypeError(f"field {name} has an alias or is left out")
    annotation, metadata = info.annotation, list(info.metadata)
    nullable = False
    if get_origin(annotation) in (Union, UnionType) and NoneType in get_args(annotation):
        if metadata:
            raise TypeError(f"field {name} has constraints on a value that may be null")
        [annotation] = [each for each in get_args(annotation) if each is not NoneType]
        nullable = True
    rule = _rule(annotation, metadata, models, info.discriminator)
    if info.is_required():
        return (name, rule, nullable, "required")
    if info.default_factory is not None:
        if info.default_factory is not annotation:
            raise TypeError(f"field {name} has a default that is not a nested model without fields")
        return (name, rule, nullable, "empty")
    if not isinstance(info.default, NoneType | bool | int | float | str | tuple):
        raise TypeError(f"field {name} has the default {info.default!r}")
    return (name, rule, nullable, "default", info.default)


def _rule(annotation: Any, metadata: list[Any], models: dict[str, Any], discriminator: Any = None) -> tuple[Any, ...]:
    if get_origin(annotation) is Annotated:
        annotation, *inner = get_args(annotation)
        return _rule(annotation, inner + metadata, models, discriminator)
    flat: list[Any] = []
    for each in metadata:
        if isinstance(each, FieldInfo):
            flat += each.metadata
            discriminator = discriminator or each.discriminator
        else:
            flat.append(each)
    metadata = flat
    bounds = _Bounds(metadata)
    rule = _inner(annotation, bounds, models, discriminator)
    if bounds.metadata:
        raise TypeError(f"{annotation} has constraints that no rule knows: {bounds.metadata}")
    return rule


class _Bounds:
    """What pydantic keeps beside a type. Each part is taken out once it is known what it means."""

    def __init__(self, metadata: list[Any]) -> None:
        self.metadata = list(metadata)

    def take(self, kind: type, attribute: str) -> Any:
        """Return the attribute of the one part of this kind, and take the part out; None if there is none."""
        found = [each for each in self.metadata if isinstance(each, kind)]
        if len(found) > 1:
            raise TypeError(f"several of {kind.__name__}: {found}")
        for each in found:
            self.metadata.remove(each)
            return getattr(each, attribute)
        return None

    def pattern(self) -> str | None:
        """Take out the pattern of a text."""
        for each in self.metadata:
            if type(each).__name__ == "_PydanticGeneralMetadata" and list(vars(each)) == ["pattern"]:
                self.metadata.remove(each)
                return str(vars(each)["pattern"])
        return None

    def lengths(self) -> tuple[int | None, int | None]:
        """Take out the smallest and the largest length."""
        return self.take(MinLen, "min_length"), self.take(MaxLen, "max_length")


def _inner(annotation: Any, bounds: _Bounds, models: dict[str, Any], discriminator: Any) -> tuple[Any, ...]:
    if check := bounds.take(PlainValidator, "func"):
        name = check.__wrapped__.__name__.removesuffix("_from_json")
        writer = bounds.take(PlainSerializer, "func")
        if codec.FORMS.get(name) != (check.__wrapped__, writer):
            raise TypeError(f"plain.codec.FORMS lacks {name}")
        return ("form", name, *bounds.lengths())
    for kind, name in ((BeforeValidator, "before"), (AfterValidator, "after")):
        if convert := bounds.take(kind, "func"):
            rest, bounds.metadata = bounds.metadata, []
            return (name, _function(convert), _rule(annotation, rest, models))
    if discriminator is not None:
        members = [(get_args(each.model_fields[discriminator].annotation), each) for each in get_args(annotation)]
        return ("union", discriminator, tuple((tag, _add(each, models)) for tags, each in members for tag in tags))
    if annotation is bool:
        return ("bool",)
    if annotation is int:
        return ("int", bounds.take(Ge, "ge"), bounds.take(Le, "le"))
    if annotation is float:
        return ("float", bounds.take(Gt, "gt"), bounds.take(Ge, "ge"), bounds.take(Le, "le"))
    if annotation is str:
        return ("str", *bounds.lengths(), *_pattern(bounds.pattern()))
    if annotation is ErrorCode:
        return ("code",)
    if isinstance(annotation, EnumMeta):
        raise TypeError(f"{annotation} is an enumeration that the plain codec does not know")
    if get_origin(annotation) is Literal:
        return ("literal", get_args(annotation))
    if get_origin(annotation) is tuple:
        items = get_args(annotation)
        if items[-1] is Ellipsis:
            fail_fast = bounds.take(FailFast, "fail_fast") is True
            return ("array", _rule(items[0], [], models), *bounds.lengths(), fail_fast)
        return ("tuple", tuple(_rule(item, [], models) for item in items))
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return ("model", _add(annotation, models))
    raise TypeError(f"no rule for {annotation}")


def _function(function: Any) -> str:
    name = str(function.__name__)
    if codec.CONVERSIONS.get(name) is not function:
        raise TypeError(f"plain.codec.CONVERSIONS lacks {name}")
    return name


def _pattern(pattern: str | None) -> tuple[Any, ...]:
    """Return a pattern and its parts: the characters that are allowed next, and how many of them there are."""
    if pattern is None:
        return ()
    body = pattern.removeprefix("^").removesuffix("$")
    found, at = [], 0
    while part := _PART.match(body, at):
        chars, least, most = part["chars"], int(part["least"] or 1), int(part["most"] or part["least"] or 1)
        found.append(("-" if chars == "-" else _characters(chars), least, most))
        at = part.end()
    if at != len(body) or pattern != f"^{body}$" or any(least != most for _, least, most in found[:-1]):
        raise TypeError(f"the plain codec does not know such a pattern: {pattern}")
    return (pattern, tuple(found))


def _characters(chars: str) -> str:
    return "".join(char for char in map(chr, range(128)) if re.fullmatch(chars, char))


if __name__ == "__main__":
    PATH.write_text(schema())
