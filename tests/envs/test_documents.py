"""The door for data: what comes in is what its schema says, and all else is told in one sentence."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, NotRequired

import pytest
from annotated_types import Ge, Lt, MinLen
from hypothesis import given
from hypothesis import strategies as st
from typing_extensions import TypedDict

from envs._documents import DocumentError, Schema, checked, parsed, read


class Inner(Schema):
    widths: Annotated[tuple[Annotated[int, Ge(1)], ...], MinLen(1)] = (1,)
    share: Annotated[float, Ge(0), Lt(1)] = 0.5


class Outer(Schema):
    count: int
    kind: Literal["round", "square"] = "round"
    flag: bool = False
    name: str = ""
    inner: Inner = Inner()
    several: dict[str, Inner] = {}  # noqa: RUF012


WRONG = {
    "count": ("x.toml is not valid TOML",),
    "count = 1.5": ("count in x.toml is 1.5; it must be an integer",),
    "count = true": ("count in x.toml is True; it must be an integer",),
    'count = "1"': ("count in x.toml is '1'; it must be an integer",),
    "": ("x.toml does not say count; add a line for it",),
    "count = 1\nkount = 2": ("'kount' in x.toml is nothing that anybody reads; did you mean 'count'?",),
    'count = 1\nkind = "rond"': ("must be one of 'round' or 'square'; did you mean 'round'?",),
    "count = 1\nflag = 1": ("flag in x.toml is 1; it must be true or false",),
    "count = 1\nname = 3": ("name in x.toml is 3; it must be a text",),
    "count = 1\ninner = 3": ("inner in x.toml is 3; it must be a table",),
    "count = 1\n[inner]\nwidths = []": ("widths in x.toml [inner] is []; it must be of 1 at least",),
    "count = 1\n[inner]\nwidths = [4, 0]": ("widths[1] in x.toml [inner] is 0; it must be at least 1",),
    "count = 1\n[inner]\nwidths = 4": ("widths in x.toml [inner] is 4; it must be a list",),
    "count = 1\n[inner]\nshare = 1": ("share in x.toml [inner] is 1", "it must be less than 1"),
    "count = 1\n[inner]\nshare = -0.5": ("it must be at least 0",),
    "count = 1\n[inner]\nshare = nan": ("it must be a finite number",),
    "count = 1\n[several.a]\nshar = 0.1": ("'shar' in x.toml [several.a] is nothing", "did you mean 'share'?"),
    "count = 1\nname = 2020-01-01": ("put it in quotes",),
    "count = 1.5\nflag = 2\nname = 4": ("count in x.toml", "(and there is more)"),
    f'count = "{"long" * 99}"': ("...; it must be an integer",),
}


@pytest.mark.parametrize("text", WRONG)
def test_what_is_not_as_it_must_be_is_told_in_a_sentence(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.toml"
    path.write_text(text)
    with pytest.raises(DocumentError) as caught:
        read(path, Outer, "x.toml")
    assert [word for word in WRONG[text] if word not in str(caught.value)] == []
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200


def test_what_is_right_comes_in(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text("count = 2\n[inner]\nwidths = [4, 5]\n[several.a]\nshare = 0\n")
    found = read(path, Outer)
    assert (found.count, found.inner.widths, found.several["a"].share) == (2, (4, 5), 0.0)
    assert type(found.several["a"].share) is float


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"count = 1 # \xff", "is not UTF-8 text (byte 12); save it as UTF-8"),
        (b"count = 1\x00", "is not valid TOML"),
        (b"x = " + b"[" * 9999, "is not valid TOML"),
    ],
)
def test_what_is_no_text_is_told(tmp_path: Path, content: bytes, told: str) -> None:
    path = tmp_path / "x.toml"
    path.write_bytes(content)
    with pytest.raises(DocumentError, match=r"x\.toml") as caught:
        read(path, Outer, "x.toml")
    assert told in str(caught.value)


def test_what_is_no_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "none.json", Outer)
    with pytest.raises(DocumentError, match="can't be read: Is a directory"):
        read(tmp_path, Outer)


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "null", '"a"', '{"count": NaN}', '{"count": 1e999}', "[" * 99999])
def test_json_of_another_kind_is_told(text: str) -> None:
    with pytest.raises(DocumentError, match=r"x\.json"):
        parsed(text, Schema if text == "{" else Outer, "x.json")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["count", "kind", "inner", "a"]), inner),
)


@given(JSON)
def test_whatever_comes_is_taken_or_told(value: object) -> None:
    """And nothing else comes of it."""
    try:
        found = checked(value, Outer, "x")
    except DocumentError:
        return
    assert isinstance(value, dict)
    assert found.count == value["count"]


@dataclass(frozen=True)
class Point:
    x: int
    y: float = 0.0


class Entry(TypedDict):
    x: int
    y: NotRequired[float]


@pytest.mark.parametrize("kind", [Point, Entry, dict[str, int]])
def test_every_kind_of_schema_is_strict(kind: type) -> None:
    with pytest.raises(DocumentError):
        checked({"x": "1"}, kind, "here")
    with pytest.raises(DocumentError):
        checked({"x": 1, "z": 1.5}, kind, "here")
    assert checked({"x": 1}, kind, "here") in (Point(1), {"x": 1})
