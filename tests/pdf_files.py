"""The smallest PDFs that a reader takes: pages of lines in one font, closed by a password, or with nothing but a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def pdf(path: Path, pages: Sequence[Sequence[str]], *, title: str = "") -> Path:
    """A PDF of text lines (Latin-1); a page without lines holds a grey box, as a scan would."""
    objects = [b"<< /Type /Catalog /Pages 2 0 R >>", b""]
    objects += [b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>"]
    objects += [b"<< /Title (" + _escaped(title) + b") >>"]
    kids = []
    for lines in pages:
        shown = b"BT /F1 11 Tf 50 780 Td 14 TL " + b" ".join(b"(" + _escaped(x) + b") Tj T*" for x in lines) + b" ET"
        content = shown if lines else b"0.5 g 50 50 400 600 re f"
        objects.append(b"<< /Length %d >>\nstream\n%s\nendstream" % (len(content), content))
        objects.append(
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Resources << /Font << /F1 3 0 R >> >> /Contents %d 0 R >>"
            % len(objects)
        )
        kids.append(b"%d 0 R" % len(objects))
    objects[1] = b"<< /Type /Pages /Count %d /Kids [%s] >>" % (len(kids), b" ".join(kids))
    out, places = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    size = len(objects) + 1
    out += b"xref\n0 %d\n0000000000 65535 f \n%strailer\n<< /Size %d /Root 1 0 R /Info 4 0 R >>\n" % (size, table, size)
    path.write_bytes(out + b"startxref\n%d\n%%%%EOF\n" % out.index(b"xref\n0"))
    return path


def locked_pdf(path: Path, pages: Sequence[Sequence[str]], password: str) -> Path:
    """The same, closed by a password (RC4, which needs no further package)."""
    from pypdf import PdfWriter

    pdf(path, pages)
    writer = PdfWriter(clone_from=path)
    writer.encrypt(password, algorithm="RC4-128")
    writer.write(path)
    return path


def _escaped(text: str) -> bytes:
    return text.encode("latin-1").replace(b"\\", b"\\\\").replace(b"(", b"\\(").replace(b")", b"\\)")
