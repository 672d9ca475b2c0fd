"""The door of a worker process: ``python -m benchmark.execution.worker``.

It reads the code before it imports any of it: what a worker notes of its code is what it runs, or it runs nothing.
"""

from __future__ import annotations

import os
import sys

from benchmark.runs.fingerprint import Sources


def main() -> None:
    sources = Sources.read()
    # What libraries print must not mix with the answers: from here on it goes where standard error goes.
    outgoing = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    from benchmark.execution.serving import Channel, serve

    serve(Channel(sys.stdin, outgoing), sources)


if __name__ == "__main__":
    main()
