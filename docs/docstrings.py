"""Makes our plain docstrings fit for a page: doctests become code, one-line sections get a heading, `<` stays a sign."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from griffe import Extension, Object

SECTION = re.compile(r"^(Args|Raises|Returns|Yields|Shapes|Attributes): (?=\S)")
"""A section on one line, such as `Raises: InputError: K < 2.`; those with indented lines the parser understands."""


def prepared(text: str) -> str:
    """A docstring as Markdown.

    >>> prepared("Add.\\n\\nRaises: InputError: a < 0.").splitlines()
    ['Add.', '', '**Raises:** InputError: a &lt; 0.']
    >>> prepared("Add.\\n\\n>>> 1 + 1\\n2").splitlines()
    ['Add.', '', '```pycon', '>>> 1 + 1', '2', '```']
    """
    return "\n".join(_lines(text))


def _lines(text: str) -> Iterator[str]:
    fence = ""  # indentation of the open example, and a mark
    last = ""
    for line in text.splitlines():
        bare = line.lstrip()
        if fence and not bare:
            yield fence[:-1] + "```"
            fence = ""
        if bare.startswith(">>> ") and not fence:
            fence = line[: len(line) - len(bare)] + "!"
            yield from ([""] if last.strip() else [])
            yield fence[:-1] + "```pycon"
        if fence:
            yield line
        else:
            if SECTION.match(line):
                yield from ([""] if last.strip() else [])
            yield _prose(SECTION.sub(r"**\1:** ", line))
        last = line
    if fence:
        yield fence[:-1] + "```"


def _prose(line: str) -> str:
    """Signs that would be tags, outside of code, as what they are."""
    if line.startswith("    "):  # an equation, or a section's entry
        return line
    parts = line.split("`")
    return "`".join(part if n % 2 else part.replace("<", "&lt;") for n, part in enumerate(parts))


class PlainDocstrings(Extension):
    """Hands every docstring of the package on as Markdown."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Called once for every module, class, function and attribute that was loaded."""
        if obj.docstring is not None:
            obj.docstring.value = prepared(obj.docstring.value)
