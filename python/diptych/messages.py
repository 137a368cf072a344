"""Reads protocol messages into dataclasses, by the names of their fields.

A new field of the protocol becomes part of an answer with one line: its name and type in the dataclass.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import types
import typing
from collections.abc import Hashable
from typing import Any, TypeVar

import numpy
from google.protobuf.message import Message

T = TypeVar("T")


def read(cls: type[T], message: Message) -> T:
    """The dataclass `cls` from the fields of `message` that have its fields' names.

    A Duration becomes seconds, a FloatGrid an array [rows, columns], a repeated field a tuple; an unset field of type
    `X | None` becomes None. Fields that the protocol does not have keep their default.
    """
    known = message.DESCRIPTOR.fields_by_name
    return cls(**{name: _value(hint, message, name) for name, hint in _fields(typing.cast(Hashable, cls)) if name in known})


@functools.cache
def _fields(cls: Hashable) -> tuple[tuple[str, Any], ...]:
    described: Any = cls
    hints = typing.get_type_hints(described)
    return tuple((field.name, hints[field.name]) for field in dataclasses.fields(described))


def _value(hint: Any, message: Message, name: str) -> Any:
    if isinstance(hint, types.UnionType):
        if not message.HasField(name):
            return None
        hint = typing.get_args(hint)[0]
    value = getattr(message, name)
    if typing.get_origin(hint) is tuple:
        element = typing.get_args(hint)[0]
        return tuple(_one(element, item) for item in value)
    return _one(hint, value)


def _one(hint: Any, value: Any) -> Any:
    if typing.get_origin(hint) is numpy.ndarray:
        return numpy.array(value.values, dtype=numpy.float32).reshape(value.rows, value.columns)
    if dataclasses.is_dataclass(hint):
        return read(typing.cast("type[Any]", hint), value)
    if hint is float and isinstance(value, Message):
        return value.seconds + value.nanos / 1e9  # type: ignore[attr-defined]
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return hint(value)
    return value
