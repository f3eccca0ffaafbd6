"""Starts annotations that can be killed: everything is imported once, each annotation is a fork of this process.

Reads commands on standard input: a line `URL LEDGER TEXTS CONCURRENCY` forks an annotation and prints its process id; when
it ends by itself, a line `end STATUS` follows; a killed one gives `end -9`.
"""

from __future__ import annotations

import contextlib
import os
import sys

from tests.teachers.helpers import FAST, SCHEME, pool
from tutelage.errors import Paused
from tutelage.teachers.ledger import Ledger
from tutelage.teachers.llm.endpoint import OpenAIChat
from tutelage.teachers.llm.teacher import LLMTeacher


def annotate(url: str, path: str, texts: int, concurrency: int) -> None:
    """The part of `tutelage annotate` that asks."""
    with Ledger(path) as ledger:
        teacher = LLMTeacher(OpenAIChat("m", url, timeout=30.0), clock=FAST, concurrency=concurrency)
        teacher.annotate(pool(texts), SCHEME, ledger=ledger)


def main() -> None:
    with contextlib.suppress(Paused):  # nobody listens there: it loads everything before the first fork
        LLMTeacher(OpenAIChat("m", "http://127.0.0.1:1/v1"), clock=FAST).annotate(pool(1), SCHEME)
    print("ready", flush=True)
    for line in sys.stdin:
        url, path, texts, concurrency = line.split()
        child = os.fork()
        if not child:
            status = 1
            try:
                annotate(url, path, int(texts), int(concurrency))
                status = 0
            except KeyboardInterrupt:
                status = 130
            finally:
                os._exit(status)
        print(child, flush=True)
        _, status = os.waitpid(child, 0)
        print("end", os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()
