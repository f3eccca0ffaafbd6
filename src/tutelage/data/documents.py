"""Documents of a folder as clean running text that knows its pages: PDF (extra `pdf`), plain text, Markdown, HTML.

What cannot be read is reported with its reason and never taken for an empty document: a scanned PDF has no text, an
encrypted one is closed. A document that is there twice counts once.
"""

from __future__ import annotations

import bisect
import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path

from tutelage.data.text import clean_text, normalise
from tutelage.errors import InputError, MissingExtra

SUFFIXES = (".pdf", ".txt", ".md", ".html", ".htm")
_HEADING = re.compile(r"^#{1,6}\s+(.+)$", re.MULTILINE)
_MOST_BYTES = 200_000_000
_LEAST_CHARACTERS = 20
"""Fewer characters a page, on average, and a PDF is taken for a scan."""


@dataclass(frozen=True)
class Document:
    """One document: its path below the folder, a title, and its pages as clean text (a text file has one).

    >>> document = Document("a.pdf", "A", ("One is here.", "Two is there."), paged=True)
    >>> document.text
    'One is here.\\n\\nTwo is there.'
    >>> document.page_of(document.text.index("Two"))
    2
    """

    name: str
    title: str
    pages: tuple[str, ...]
    paged: bool = False

    @cached_property
    def text(self) -> str:
        """All pages; a paragraph that runs over the page's end goes on after a space."""
        return "".join(self._parts)

    @cached_property
    def _parts(self) -> list[str]:
        parts: list[str] = []
        for page in self.pages:
            if parts and page:
                ends = next((part for part in reversed(parts) if part), "")
                parts.append((" " if ends[-1:].isalnum() or ends.endswith(",") else "\n\n") + page)
            else:
                parts.append(page)
        return parts

    @cached_property
    def _starts(self) -> list[int]:
        starts = [0]
        for part in self._parts[:-1]:
            starts.append(starts[-1] + len(part))
        return starts

    def page_of(self, offset: int) -> int | None:
        """The page (from 1) of a position in `text`; None where the format has no pages."""
        return bisect.bisect_right(self._starts, offset) if self.paged else None


@dataclass(frozen=True)
class Unread:
    """A file that gave no text, and why."""

    name: str
    reason: str


def read_documents(
    folder: str | Path, progress: Callable[[int, int], None] | None = None
) -> tuple[list[Document], list[Unread]]:
    """All documents of a folder (or one file), in the order of their paths, and the files that could not be read.

    Args: progress: told of files done and all files.

    Raises: InputError: no such folder, no file of a known kind, or none with text; MissingExtra: PDFs without `pypdf`.
    """
    root = Path(folder)
    if not root.exists():
        raise InputError(f"no such folder: {root}")
    files = [root] if root.is_file() else sorted(p for p in root.rglob("*") if p.is_file() and not _hidden(p, root))
    known = [path for path in files if path.suffix.lower() in SUFFIXES]
    if not known:
        what = "is of no known kind" if root.is_file() else f"holds none of {', '.join(SUFFIXES)}"
        raise InputError(f"{root} {what if files else 'is empty'}; put papers into it as PDF, text or HTML")
    if any(path.suffix.lower() == ".pdf" for path in known) and find_spec("pypdf") is None:
        raise MissingExtra("reading PDF files", "pdf")
    base = root.parent if root.is_file() else root
    documents: list[Document] = []
    unread: list[Unread] = []
    seen: dict[str, str] = {}
    for number, path in enumerate(known, 1):
        name = path.relative_to(base).as_posix()
        try:
            document = _read(path, name)
        except _Unreadable as error:
            unread.append(Unread(name, str(error)))
        else:
            digest = hashlib.sha256(normalise(document.text).encode("utf-8", "replace")).hexdigest()
            if first := seen.get(digest):
                unread.append(Unread(name, f"the same text as {first}"))
            else:
                seen[digest] = name
                documents.append(document)
        if progress:
            progress(number, len(known))
    if not documents:
        raise InputError(f"no text in {root}: {unread[0].name}: {unread[0].reason}" + _others(len(unread) - 1))
    return documents, unread


class _Unreadable(Exception):
    """Why a file gave no text."""


def _others(count: int) -> str:
    return f" (and {count} more files)" if count else ""


def _hidden(path: Path, root: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(root).parts)


def _read(path: Path, name: str) -> Document:
    if path.stat().st_size > _MOST_BYTES:
        raise _Unreadable(f"larger than {_MOST_BYTES // 1_000_000} MB")
    kind = path.suffix.lower()
    if kind == ".pdf":
        return _read_pdf(path, name)
    try:
        text = path.read_text(encoding="utf-8-sig", errors="replace")
    except OSError as error:
        raise _Unreadable(f"cannot be read: {error.strerror}") from None
    title = path.stem
    if kind in (".html", ".htm"):
        reader = _Html()
        reader.feed(text)
        text, title = reader.text, reader.title or title
    elif kind == ".md":
        heading = _HEADING.search(text)
        title = heading.group(1).strip() if heading else title
        text = _HEADING.sub(r"\1", text)
    cleaned = clean_text(text)
    if not cleaned:
        raise _Unreadable("no text in it")
    return Document(name, title, (cleaned,))


def _read_pdf(path: Path, name: str) -> Document:
    import logging

    from pypdf import PdfReader
    from pypdf.errors import PyPdfError

    logging.getLogger("pypdf").setLevel(logging.CRITICAL)  # its remarks on odd files are not for our user
    try:
        reader = PdfReader(path)
        if reader.is_encrypted and not reader.decrypt(""):
            raise _Unreadable("encrypted: save it once without its password")
        raw = [page.extract_text() or "" for page in reader.pages]
        title = str((reader.metadata and reader.metadata.title) or "").strip()
    except _Unreadable:
        raise
    except (PyPdfError, OSError, ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError) as error:
        what = " ".join(str(error).split())[:80] or type(error).__name__
        raise _Unreadable(f"damaged, or no PDF ({what})") from None
    except Exception as error:
        if type(error).__module__.startswith(("pypdf", "cryptography")) or "AES" in str(error):
            raise _Unreadable("encrypted: save it once without its password") from None
        raise
    pages = tuple(clean_text(text) for text in raw)
    if sum(map(len, pages)) < _LEAST_CHARACTERS * max(1, len(pages)):
        raise _Unreadable(
            f"no text on its {len(pages)} page{'s' * (len(pages) != 1)}: a scan; run text recognition first"
        )
    return Document(name, title or path.stem, pages, paged=True)


class _Html(HTMLParser):
    """Visible text of a page, blocks apart."""

    _SILENT = frozenset({"script", "style", "noscript", "template", "svg", "nav", "footer"})
    _BLOCKS = frozenset(
        {
            "article", "blockquote", "br", "dd", "div", "dl", "dt", "figcaption", "h1", "h2", "h3", "h4", "h5", "h6", "li",
            "main", "ol", "p", "pre", "section", "table", "td", "th", "tr", "ul",
        }
    )  # fmt: skip

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._parts: list[str] = []
        self._silent = 0
        self._in_title = False
        self.title = ""

    @property
    def text(self) -> str:
        """What was read so far."""
        return "".join(self._parts)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._silent += tag in self._SILENT
        self._in_title |= tag == "title"
        if tag in self._BLOCKS:
            self._parts.append("\n\n")

    def handle_endtag(self, tag: str) -> None:
        self._silent = max(0, self._silent - (tag in self._SILENT))
        self._in_title &= tag != "title"
        if tag in self._BLOCKS:
            self._parts.append("\n\n")

    def handle_data(self, data: str) -> None:
        if self._in_title:
            self.title = " ".join(f"{self.title} {data}".split())
        elif not self._silent:
            self._parts.append(data)
