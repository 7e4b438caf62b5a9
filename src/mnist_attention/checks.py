"""Checks of arguments, whose errors say what was expected and what came."""

import contextlib
import dataclasses
import functools
import numbers
import types
import typing
from collections.abc import Mapping
from typing import Literal, TypeVar

Option = TypeVar("Option")
_hints = functools.cache(typing.get_type_hints)


def check_types(protocol) -> None:
    """Raise ValueError unless each field of a dataclass has its type, or one of its names.

    Numbers of other libraries are replaced by Python's: equal protocols have one run id, and JSON
    writes 0, 0.0 and -0.0 each its own way.
    """
    hints = _hints(type(protocol))
    for field in dataclasses.fields(protocol):
        value = _convert(field.name, getattr(protocol, field.name), hints[field.name])
        object.__setattr__(protocol, field.name, value)


def _convert(name: str, value, hint):
    if names := choices(hint):
        lookup(name, value, dict.fromkeys(names))
        return str(value)
    allowed = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    # bool is an int to Python, but Protocol(epochs=True) is a slip.
    if isinstance(value, bool) or value is None:
        if type(value) in allowed:
            return value
    elif int in allowed and isinstance(value, numbers.Integral):
        return int(value)
    elif float in allowed and isinstance(value, numbers.Real):
        with contextlib.suppress(OverflowError):
            return float(value) + 0.0
    wanted = " or ".join(kind.__name__ for kind in allowed)
    raise ValueError(f"Expected {name} to be {wanted}. Received: {name}={value!r}")


def choices(hint) -> tuple[str, ...]:
    """The names that a field annotated with a `Literal` accepts; empty for other fields."""
    return typing.get_args(hint) if typing.get_origin(hint) is Literal else ()


def expect(holds: bool, expected: str, received: object) -> None:
    """Unless `holds`, raise a ValueError that says what was expected and what came."""
    if not holds:
        raise ValueError(f"Expected {expected}. Received: {str(received)[:300]}")


def lookup(name: str, value: str, options: Mapping[str, Option]) -> Option:
    """`options[value]`, or a `ValueError` that lists the keys. `name` is that of the argument."""
    if not isinstance(value, str) or value not in options:
        names = tuple(options)
        raise ValueError(f"Expected {name} to be one of {names}. Received: {name}={value!r}")
    return options[value]
