"""`NamedTuple` without importing `typing`, which takes longer than all that a short command does with records."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NamedTuple
else:
    from _collections import _tuplegetter

    class NamedTuple(tuple):
        """A tuple whose elements have names; it behaves as `typing.NamedTuple`."""

        __slots__ = ()
        _fields = ()
        _defaults = ()

        def __init_subclass__(cls) -> None:
            if "__annotations__" not in cls.__dict__:
                return
            cls._fields = cls.__match_args__ = tuple(cls.__annotations__)
            cls._defaults = {name: cls.__dict__[name] for name in cls._fields if name in cls.__dict__}
            for at, name in enumerate(cls._fields):
                setattr(cls, name, _tuplegetter(at, f"The field {name}."))

        def __new__(cls, *values, **named):
            if named or len(values) != len(cls._fields):
                for name in cls._fields[len(values) :]:
                    try:
                        values += (named.pop(name) if name in named else cls._defaults[name],)
                    except KeyError:
                        raise TypeError(f"{cls.__name__} lacks the field {name}") from None
                if named or len(values) > len(cls._fields):
                    raise TypeError(f"{cls.__name__} has no such fields, or too many: {[*named, *values]}")
            return tuple.__new__(cls, values)

        def __repr__(self) -> str:
            fields = (f"{name}={value!r}" for name, value in zip(self._fields, self, strict=True))
            return f"{type(self).__name__}({', '.join(fields)})"

        def __getnewargs__(self):
            return tuple(self)

        def _asdict(self):
            return dict(zip(self._fields, self, strict=True))

        def _replace(self, **changed):
            return type(self)(**self._asdict() | changed)


__all__ = ["NamedTuple"]
