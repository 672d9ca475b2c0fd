"""The one door for data that come from a file or a person: held against a schema that is declared beside their reader.

Schemas are strict: a value is what it must be, or refused in one sentence that names file, table and key.
"""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ConfigDict, PydanticUserError, TypeAdapter, ValidationError

Kind = TypeVar("Kind")
STRICT = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)
LONGEST = 60
"""Characters of a wrong value that are shown."""
MUST_BE = {
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "int_type": "an integer",
    "int_parsing": "an integer",
    "int_from_float": "an integer",
    "bool_type": "true or false",
    "string_type": "a text",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "a table",
    "model_type": "a table",
    "model_attributes_type": "a table",
    "greater_than": "more than {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "less than {lt}",
    "less_than_equal": "at most {le}",
    "too_short": "of {min_length} at least",
    "too_long": "of {max_length} at most",
    "string_too_short": "not empty",
    "literal_error": "one of {expected}",
}
"""What pydantic's kinds of error say that a value must be."""


class DocumentError(Exception):
    """A file or a value that can't be used; the text is one sentence that says what it must be."""


class Schema(BaseModel):
    """Parent of the schemas: nothing is converted, and nothing stands in a file that nobody reads."""

    model_config = STRICT


def read(path: Path, kind: type[Kind], name: str = "", toml: bool = False) -> Kind:
    """What a JSON file says, or one of TOML (by its name, or as ``toml`` says), as a ``kind``; ``name`` is what people
    know it by.

    Raises FileNotFoundError, and DocumentError for all else that is wrong with it.
    """
    name = name or str(path)
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DocumentError(f"{name} is not UTF-8 text (byte {error.start}); save it as UTF-8") from error
    except FileNotFoundError:
        raise
    except OSError as error:
        raise DocumentError(f"{name} can't be read: {error.strerror}") from error
    return parsed(text, kind, name, toml=toml or path.suffix == ".toml")


def parsed(text: str, kind: type[Kind], name: str, toml: bool = False) -> Kind:
    """A TOML or JSON text as a ``kind``. Raises DocumentError."""
    language, parse = ("TOML", tomllib.loads) if toml else ("JSON", json.loads)
    try:
        value = parse(text)
    except (ValueError, RecursionError) as error:
        raise DocumentError(f"{name} is not valid {language}: {error}") from error
    return checked(value, kind, name)


def checked(value: Any, kind: Any, name: str, key: str = "") -> Any:
    """A plain value as a ``kind``, of the file (or whatever has a ``name``) where it stands as ``key``.

    Raises DocumentError.
    """
    try:
        return _adapter(kind).validate_json(json.dumps([value]))[0]
    except PydanticUserError as error:
        raise DocumentError(f"{key} in {name} is declared as {kind}, which is nothing that a file can say") from error
    except (ValueError, OverflowError) as error:  # a number of thousands of digits
        if isinstance(error, ValidationError):
            raise DocumentError(_first(error, kind, name, key)) from None
        raise DocumentError(
            f"{' in '.join(filter(None, (key, name)))} is too large a number; give a smaller one"
        ) from error
    except TypeError as error:  # a date of TOML's
        raise DocumentError(
            f"{name} holds what is no number, text, list or table ({error}); put it in quotes"
        ) from error


def _first(error: ValidationError, kind: Any, name: str, key: str) -> str:
    found = error.errors(include_url=False)
    more = " (and there is more)" if len(found) > 1 else ""
    return _sentence(found[0], kind, name, key) + more


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    """Of a list of one, since a dataclass or a dictionary takes its strictness from what it lies in."""
    several: Any = list[kind]
    return TypeAdapter(several, config=STRICT)


def _sentence(error: Any, kind: Any, name: str, key: str) -> str:
    """One of pydantic's errors as people read it."""
    *tables, last = error["loc"][1:] or (key,)
    if isinstance(last, int):
        last = f"{tables.pop() if tables else key}[{last}]"
    where = f"{name} [{'.'.join(map(str, tables))}]" if tables else name
    what = " in ".join(str(each) for each in (last, where) if each)
    if error["type"] == "missing":
        return f"{where} does not say {last}; add a line for it"
    if error["type"] == "extra_forbidden":
        return f"{str(last)!r} in {where} is nothing that anybody reads{_nearest(str(last), _keys(kind, tables))}"
    if error["type"] == "value_error":
        return f"{what}: {error['ctx']['error']}"
    shown = repr(error["input"])
    shown = shown if len(shown) <= LONGEST else f"{shown[:LONGEST]}..."
    must, more = MUST_BE.get(error["type"], ""), error.get("ctx", {})
    near = _nearest(str(error["input"]), re.findall("'([^']*)'", more.get("expected", "")))
    return f"{what} is {shown}; {f'it must be {must.format(**more)}' if must else error['msg']}{near}"


def _keys(kind: Any, place: Sequence[str | int]) -> Sequence[str]:
    """The keys that a schema knows at a place."""
    for part in place:
        fields, inner = _fields(kind), get_args(kind) or (Any,)
        kind = fields[str(part)] if fields else inner[-1] if isinstance(part, str) else inner[0]
    return list(_fields(kind))


def _fields(kind: Any) -> Mapping[str, Any]:
    """Those of a schema, or of the one that may stand there; none of a list or a table of whatever."""
    several = (kind, *(get_args(kind) if get_origin(kind) in (Union, UnionType) else ()))
    return next((get_type_hints(each) for each in several if getattr(each, "__annotations__", None)), {})


def _nearest(word: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""
