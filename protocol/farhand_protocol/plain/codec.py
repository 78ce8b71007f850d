"""Converts messages between JSON and dicts, and checks both ways what the models check.

A message is a dict of all fields of its model, with `type`; nested models are dicts, too, arrays are tuples, bytes are
bytes. `decode` fills in missing fields with their defaults. `encode` sends only what it is given, without what is None,
so that a peer gets no field of a feature that it does not know (`features.left_out`).

`schema` gives each field's rule: a tuple whose first element names the function that checks a value by it.
"""

from __future__ import annotations

try:
    from _json import encode_basestring as encode_text
except ImportError:  # an interpreter other than CPython
    from json.encoder import encode_basestring as encode_text

from farhand_protocol import values
from farhand_protocol.errors import ErrorCode, LocalProtocolError, RemoteProtocolError
from farhand_protocol.limits import CLIENT_LIMITS, Limits
from farhand_protocol.sentences import printable
from farhand_protocol.strict_json import parse_json

from .schema import MESSAGES, MODELS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, Final, TypeAlias

    Rule: TypeAlias = tuple[Any, ...]

FORMS: Final[dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]]] = {
    "argument": (values.argument_from_json, values.bytes_to_json),
    "arguments": (values.arguments_from_json, values.arguments_to_json),
    "environment": (values.environment_from_json, values.environment_to_json),
    "base64": (values.base64_from_json, values.base64_to_json),
}
"""What reads and what writes bytes in JSON."""

CONVERSIONS: Final[dict[str, Callable[[Any], Any]]] = {
    "fit_short_text": values.fit_short_text,
    "fit_text": values.fit_text,
    "positive_zero": values.positive_zero,
    "printable": printable,
}
"""What changes a value before or after it is checked."""

FAULTS: Final[dict[str, Callable[[Mapping[str, Any]], str]]] = {
    "Attach": values.attach_fault,
    "ForwardRequest": values.forward_fault,
    "GapNotice": values.gap_fault,
    "RunRequest": values.run_fault,
    "TerminalRequest": values.terminal_fault,
    "TransferRequest": values.transfer_fault,
}
"""What the fields of a model must be together."""


def decode(payload: bytes, limits: Limits = CLIENT_LIMITS) -> dict[str, Any]:
    """Return the message in `payload`. Raises `RemoteProtocolError` with the code of the first mistake."""
    fields = parse_json(payload, limits)
    try:
        return _checked_message(fields)
    except _Refused as refused:
        raise RemoteProtocolError(refused.code, refused.sentence()) from None


def encode(fields: Mapping[str, Any]) -> bytes:
    """Return the JSON of a message. Raises `LocalProtocolError` for what a peer would refuse."""
    try:
        model = _model_of(fields)
        return _written(("model", model), _checked_model(model, fields, complete=False)).encode()
    except _Refused as refused:
        raise LocalProtocolError(refused.sentence()) from None
    except UnicodeEncodeError:
        raise LocalProtocolError("the message has half of a surrogate pair") from None


class _Refused(Exception):
    """A value is not what its rule says. `path` leads to it, from the inside."""

    def __init__(self, reason: str, code: ErrorCode = ErrorCode.INVALID_FIELD, *path: str | int) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
        self.path = [*path]

    def inside(self, at: str | int) -> None:
        """Note that the value is inside the field, or the element, `at`."""
        self.path.append(at)

    def sentence(self) -> str:
        """Return the sentence that `messages.decode` has for it."""
        where = ".".join(map(str, reversed(self.path)))
        if self.code is ErrorCode.UNKNOWN_FIELD:
            return f"the message has an unknown field: {where[:64]!r}"
        if self.code is ErrorCode.UNKNOWN_MESSAGE:
            return "the message has no known type"
        said = self.reason if len(self.reason) <= _MAX_REASON else self.reason[: _MAX_REASON - 1] + "…"
        return f"the message's field {where[:200]}: {said}" if where else f"the message: {said}"


_MAX_REASON: Final = 150  # as in `messages.codec`
_INVALID: Final = ErrorCode.INVALID_FIELD


def _model_of(fields: Any) -> str:
    if not isinstance(fields, dict):
        raise _Refused("Input should be an object")
    kind = fields.get("type")
    model = MESSAGES.get(kind) if isinstance(kind, str) else None
    if model is None:
        raise _Refused("", ErrorCode.UNKNOWN_MESSAGE)
    return model


def _checked_message(fields: Any) -> dict[str, Any]:
    model = _model_of(fields)
    try:
        return _checked_model(model, fields)
    except _Refused as refused:
        refused.inside(fields["type"])
        raise


def _checked_model(model: str, fields: Mapping[str, Any], complete: bool = True) -> dict[str, Any]:
    """Return the fields of a model, with those that are missing."""
    checked: dict[str, Any] = {}
    for name, rule, nullable, *missing in MODELS[model]:
        if name in fields:
            value = fields[name]
            if value is None and nullable:
                checked[name] = None
                continue
            try:
                checked[name] = _CHECKS[rule[0]](value, *rule[1:])
            except _Refused as refused:
                refused.inside(name)
                raise
            except values.BadValue as bad:
                raise _Refused(bad.reason, bad.code, name) from None
        elif missing[0] == "default":
            checked[name] = missing[1]
        elif missing[0] == "empty":
            checked[name] = _checked_model(rule[1], {})
        else:
            raise _Refused("Field required", _INVALID, name)
    for name in fields:
        if name not in checked:
            raise _Refused("", ErrorCode.UNKNOWN_FIELD, name)
    if model in FAULTS and (fault := FAULTS[model](checked)):
        raise _Refused(fault)
    return checked if complete else {name: checked[name] for name in checked if name in fields}


# One function for each kind of rule


def _bool(value: Any) -> bool:
    if value is True or value is False:
        return bool(value)
    raise _Refused("Input should be a valid boolean")


def _int(value: Any, least: int | None, most: int | None) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise _Refused("Input should be a valid integer")
    _bounded(value, None, least, most)
    return value


def _float(value: Any, above: float | None, least: float | None, most: float | None) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise _Refused("Input should be a valid number")
    try:
        number = float(value)
    except OverflowError:
        number = _INFINITE
    if number - number != 0:
        raise _Refused("Input should be a finite number", ErrorCode.BAD_NUMBER)
    _bounded(number, above, least, most)
    return number


_INFINITE: Final = float("inf")


def _bounded(value: float, above: float | None, least: float | None, most: float | None) -> None:
    if most is not None and value > most:
        raise _Refused(f"Input should be less than or equal to {most}")
    if least is not None and value < least:
        raise _Refused(f"Input should be greater than or equal to {least}")
    if above is not None and value <= above:
        raise _Refused(f"Input should be greater than {above}")


def _str(
    value: Any, least: int | None, most: int | None, pattern: str = "", parts: tuple[tuple[str, int, int], ...] = ()
) -> str:
    if not isinstance(value, str):
        raise _Refused("Input should be a valid string")
    if most is not None and len(value) > most:
        raise _Refused(f"String should have at most {_counted(most, 'character')}")
    if least is not None and len(value) < least:
        raise _Refused(f"String should have at least {_counted(least, 'character')}")
    if parts and not _matches(value, parts):
        raise _Refused(f"String should match pattern '{pattern}'")
    return value


def _matches(text: str, parts: tuple[tuple[str, int, int], ...]) -> bool:
    """Return whether `text` consists of these parts: allowed characters, the fewest and the most of them. Only the last
    part may vary in length."""
    at = 0
    for chars, least, most in parts:
        part = text[at : at + most]
        if len(part) < least or part.strip(chars):
            return False
        at += len(part)
    return at == len(text)


def _literal(value: Any, choices: tuple[str, ...]) -> str:
    if not isinstance(value, str) or value not in choices:
        raise _Refused(f"Input should be {_listed(choices)}")
    return value


def _code(value: Any) -> ErrorCode:
    try:
        return ErrorCode(value)
    except ValueError:
        raise _Refused(f"Input should be {_listed(tuple(ErrorCode))}") from None


def _listed(choices: tuple[str, ...]) -> str:
    *first, last = (f"'{choice}'" for choice in choices)
    return f"{', '.join(first)} or {last}" if first else last


def _form(value: Any, form: str, least: int | None, most: int | None) -> Any:
    read, _ = FORMS[form]
    checked = read(value)
    _sized(checked, "Value", least, most)
    return checked


def _sized(value: Any, what: str, least: int | None, most: int | None) -> None:
    if most is not None and len(value) > most:
        raise _Refused(f"{what} should have at most {_counted(most, 'item')} after validation, not {len(value)}")
    if least is not None and len(value) < least:
        raise _Refused(f"{what} should have at least {_counted(least, 'item')} after validation, not {len(value)}")


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _array(value: Any, rule: Rule, least: int | None, most: int | None, fail_fast: bool) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise _Refused("Input should be a valid array")
    checked: list[Any] = []
    first: _Refused | None = None
    for at, each in enumerate(value):
        try:
            checked.append(_item(at, each, rule))
        except _Refused as refused:
            first = first or refused
            if fail_fast:
                break
        if most is not None and len(checked) > most:
            _sized(value, "Tuple", None, most)
    if first:
        raise first
    _sized(value, "Tuple", least, most)
    return tuple(checked)


def _tuple(value: Any, rules: tuple[Rule, ...]) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise _Refused("Input should be a valid array")
    checked = []
    for at, rule in enumerate(rules):
        if at == len(value):
            raise _Refused("Field required", _INVALID, at)
        checked.append(_item(at, value[at], rule))
    if len(value) > len(rules):
        _sized(value, "Tuple", None, len(rules))
    return tuple(checked)


def _item(at: int, value: Any, rule: Rule) -> Any:
    try:
        return _CHECKS[rule[0]](value, *rule[1:])
    except _Refused as refused:
        refused.inside(at)
        raise
    except values.BadValue as bad:
        raise _Refused(bad.reason, bad.code, at) from None


def _nested(value: Any, model: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _Refused("Input should be an object")
    return _checked_model(model, value)


def _union(value: Any, discriminator: str, members: tuple[tuple[str, str], ...]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _Refused("Input should be an object")
    tag = value.get(discriminator)
    for each, model in members:
        if tag == each:
            try:
                return _checked_model(model, value)
            except _Refused as refused:
                refused.inside(each)
                raise
    raise _Refused("", ErrorCode.UNKNOWN_MESSAGE)


def _before(value: Any, convert: str, rule: Rule) -> Any:
    return _CHECKS[rule[0]](CONVERSIONS[convert](value), *rule[1:])


def _after(value: Any, convert: str, rule: Rule) -> Any:
    return CONVERSIONS[convert](_CHECKS[rule[0]](value, *rule[1:]))


_CHECKS: Final[dict[str, Callable[..., Any]]] = {
    "after": _after,
    "array": _array,
    "before": _before,
    "bool": _bool,
    "code": _code,
    "float": _float,
    "form": _form,
    "int": _int,
    "literal": _literal,
    "model": _nested,
    "str": _str,
    "tuple": _tuple,
    "union": _union,
}


# Writing


def _written(rule: Rule, value: Any) -> str:
    """Return the JSON of a value that has been checked."""
    match rule[0]:
        case "bool":
            return "true" if value else "false"
        case "int" | "float":
            return repr(value)
        case "str" | "literal" | "code":
            return encode_text(value)
        case "form":
            return _written_form(FORMS[rule[1]][1](value))
        case "array":
            return f"[{','.join(_written(rule[1], each) for each in value)}]"
        case "tuple":
            return f"[{','.join(map(_written, rule[1], value))}]"
        case "before" | "after":
            return _written(rule[2], value)
        case "union":
            return _written(("model", dict(rule[2])[value[rule[1]]]), value)
        case _:
            members = (
                f'"{name}":{_written(rule, value[name])}'
                for name, rule, *_ in MODELS[rule[1]]
                if value.get(name) is not None
            )
            return f"{{{','.join(members)}}}"


def _written_form(value: Any) -> str:
    if isinstance(value, str):
        return encode_text(value)
    if isinstance(value, dict):
        return f'{{"base64":"{value["base64"]}"}}'
    return f"[{','.join(map(_written_form, value))}]"
