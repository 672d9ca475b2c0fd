"""Addresses as people may see them: without their passwords."""

from __future__ import annotations

import re
from urllib.parse import unquote


def shown(uri: str) -> str:
    """An address without its password; two that differ in that alone are the same store."""
    for start, end in reversed(_passwords(uri)):
        uri = f"{uri[:start]}***{uri[end:]}"
    return uri


def blotted(text: str, uri: str) -> str:
    """A text in which an address stands without its password, and that nowhere else either, however it is written."""
    text = text.replace(uri, shown(uri))
    for start, end in _passwords(uri):
        for written in {uri[start:end], unquote(uri[start:end])}:
            text = text.replace(written, "***")
    return text


WITHIN = r"[^/]*//[^:/@]*:([^/?]+)@"
"""A password between user and host."""
SLASHED = r"[^/]*//[^:/@]*:(?!\d*/)([^?]+)@"
"""One that holds a slash, and is no port."""
TOKEN = r"(?i)https?://([^:/@]+)@"
"""A server's user, where a token may stand."""
SECRET = r"(?i)[?&]\w*(?:password|token|secret|signature|key)=([^&]+)"
"""One among the parameters."""


def _passwords(uri: str) -> list[tuple[int, int]]:
    """Where they stand."""
    found = re.match(WITHIN, uri) or re.match(SLASHED, uri) or re.match(TOKEN, uri)
    return [*([found.span(1)] if found else []), *(each.span(1) for each in re.finditer(SECRET, uri))]
