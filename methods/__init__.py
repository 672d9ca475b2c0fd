"""Methods: every file of this folder without a leading underscore is one, named by its stem. Nothing is registered."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import traceback
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar, get_origin, get_type_hints

if TYPE_CHECKING:
    from methods._contract import Method

FOLDER = Path(__file__).parent


class UnavailableMethod(Exception):
    """A method file that can't be used; the text says why."""


def names() -> list[str]:
    """Stems of all method files, importable or not, sorted."""
    return sorted(module.name for module in pkgutil.iter_modules([str(FOLDER)]) if not module.name.startswith("_"))


def load(name: str) -> type[Method]:
    """The method class of ``methods/<name>.py``; raises UnavailableMethod with the reason."""
    from methods._contract import Method

    try:
        module = importlib.import_module(f"methods.{name}")
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a stranger's file can do anything while it is imported, and ends nothing by it
        raise UnavailableMethod(f"methods/{name}.py cannot be imported: {told(error)}") from error
    if not (FOLDER / f"{name}.toml").is_file():
        raise UnavailableMethod(f"methods/{name}.py has no methods/{name}.toml beside it")
    cls = _only_method(module, Method, name)
    if wrong := _what_is_wrong(cls):
        raise UnavailableMethod(f"methods/{name}.py: {cls.__name__} {wrong}")
    return cls


def made(name: str, cls: type[Method], values: Mapping[str, Any]) -> Method:
    """The method with these hyperparameters; raises UnavailableMethod where it does not take them, or says no rule that
    its critic learns by."""
    try:
        method = cls(**values)
        if type(method) is not cls or not (method.value is None or hasattr(method.value, "losses")):
            raise TypeError("no method, or no value rule")
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # it refuses values as it likes
        given = ", ".join(f"{key}={value}" for key, value in values.items())
        raise UnavailableMethod(f"method {name} can't be made with {given} ({told(error)})") from error
    return method


def tried(question: Callable[[], Any], known: tuple[type[Exception], ...]) -> None:
    """Ask what runs a method's code. Its errors that are not ``known`` are UnavailableMethod, with their place."""
    try:
        question()
    except (KeyboardInterrupt, *known):
        raise
    except BaseException as error:
        frames = [(Path(frame.filename), frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
        places = [(path.name, line) for path, line in frames if path.parent == FOLDER and path != Path(__file__)]
        where = f" (methods/{places[-1][0]}, line {places[-1][1]})" if places else ""
        raise UnavailableMethod(f"{told(error)}{where}") from error


def told(error: BaseException) -> str:
    """What a stranger's error says, if it can say it."""
    try:
        return f"{type(error).__name__}: {error}"
    except (Exception, SystemExit):
        return type(error).__name__


def _only_method(module: ModuleType, parent: type[Method], name: str) -> type[Method]:
    found = [
        each
        for each in vars(module).values()
        if isinstance(each, type) and issubclass(each, parent) and each.__module__ == module.__name__
    ]
    if len(found) != 1:
        raise UnavailableMethod(f"methods/{name}.py defines {len(found)} methods; it must define one")
    return found[0]


@cache
def _what_is_wrong(cls: type[Method]) -> str:
    """What would end a run that is built of this class, if anything would."""
    if missing := [name for name in dir(cls) if getattr(getattr(cls, name), "__isabstractmethod__", False)]:
        return f"does not define {', '.join(missing)}"
    try:
        hints = get_type_hints(cls)
    except Exception as error:  # whatever an annotation says is evaluated here
        return f"has an annotation that can't be resolved ({told(error)})"
    own = inspect.get_annotations(cls)
    fields = [name for name in own if hints[name] is not ClassVar and get_origin(hints[name]) is not ClassVar]
    if undeclared := [name for name in fields if name not in cls.__dataclass_fields__]:
        return f"has the field {undeclared[0]} and is no dataclass; write @dataclass(frozen=True) above it"
    return ""
