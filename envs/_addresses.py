"""Addresses as people may see them: without their passwords."""

from __future__ import annotations

import re
from urllib.parse import unquote

SERVERS = ("http", "https")


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


def _passwords(uri: str) -> list[tuple[int, int]]:
    """Where they stand: between the user and the host, where that of a database may hold a slash; in the place of a
    server's user, where a token may stand; or among the parameters."""
    server = uri.startswith(SERVERS)
    end = "/" if server else "?"
    found = re.match(rf"[^/]*//[^:/@]*:([^{end}]+)@", uri) or (re.match(r"[^/]*//([^:/@]+)@", uri) if server else None)
    return [*([found.span(1)] if found else []), *(m.span(1) for m in re.finditer(r"[?&]\w*password=([^&]+)", uri))]
