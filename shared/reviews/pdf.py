"""Lines of text as a PDF: pages of A4, in Courier, which every reader has.

Spec: ISO 32000-1 (PDF 1.7): file structure in section 7.5, text in 9.4, the standard fonts in 9.6.2.2. A
library for it would bring decoders of images and fonts into processes that hold keys:
``docs/decisions/0042-access-reviews.md``. Equal lines make equal bytes.
"""

from __future__ import annotations

import textwrap
import zlib
from collections.abc import Iterable, Sequence
from typing import Final

_WIDTH, _HEIGHT, _MARGIN = 595, 842, 50  # A4, points
_SIZE, _LEADING = 9, 12
_COLUMNS: Final = (_WIDTH - 2 * _MARGIN) * 10 // (_SIZE * 6)
"""Characters of a line: each is 0.6 of the font's size wide."""

_ROWS: Final = (_HEIGHT - 2 * _MARGIN) // _LEADING - 2
"""Lines of a page, without its foot."""

_CATALOG, _PAGES, _FONT, _INFO = 1, 2, 3, 4
_FIRST_PAGE: Final = 5


def pdf(title: str, lines: Iterable[str]) -> bytes:
    """A document of these lines, the long ones wrapped.

    What the font's encoding (WinAnsi) does not have is written as its code point, as JSON does.

    Args:
        title: Of the document; at the foot of each page as well.
        lines: Without line breaks.
    """
    wrapped = [part for line in lines for part in _wrapped(line)]
    pages = [wrapped[start : start + _ROWS] for start in range(0, len(wrapped), _ROWS)] or [[]]
    numbers = range(_FIRST_PAGE, _FIRST_PAGE + 2 * len(pages), 2)
    kids = " ".join(f"{number} 0 R" for number in numbers)
    objects = [
        f"<< /Type /Catalog /Pages {_PAGES} 0 R >>".encode(),
        f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>".encode(),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Courier /Encoding /WinAnsiEncoding >>",
        b"<< /Title " + _string(title) + b" /Producer (Strongroom) >>",
    ]
    for number, page in zip(numbers, pages, strict=True):
        foot = f"{title}, page {(number - _FIRST_PAGE) // 2 + 1} of {len(pages)}"
        objects += [_page(number + 1), _content(page, foot)]
    return _file(objects)


def _page(content: int) -> bytes:
    return (
        f"<< /Type /Page /Parent {_PAGES} 0 R /MediaBox [0 0 {_WIDTH} {_HEIGHT}]"
        f" /Resources << /Font << /F1 {_FONT} 0 R >> >> /Contents {content} 0 R >>"
    ).encode()


def _content(lines: Sequence[str], foot: str) -> bytes:
    shown = b"\n".join(_string(line) + b" Tj T*" for line in lines)
    text = (
        f"BT /F1 {_SIZE} Tf {_LEADING} TL {_MARGIN} {_HEIGHT - _MARGIN} Td\n".encode()
        + shown
        + f"\nET\nBT /F1 {_SIZE} Tf {_MARGIN} {_MARGIN - _LEADING} Td ".encode()
        + _string(foot)
        + b" Tj ET"
    )
    packed = zlib.compress(text)
    head = f"<< /Length {len(packed)} /Filter /FlateDecode >>\nstream\n".encode()
    return head + packed + b"\nendstream"


def _file(objects: Sequence[bytes]) -> bytes:
    """The objects with the table that says where each is (section 7.5.4)."""
    file = bytearray(b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n")
    offsets = []
    for number, body in enumerate(objects, start=1):
        offsets.append(len(file))
        file += f"{number} 0 obj\n".encode() + body + b"\nendobj\n"
    table = len(file)
    file += f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n".encode()
    file += b"".join(f"{offset:010} 00000 n \n".encode() for offset in offsets)
    file += (
        f"trailer\n<< /Size {len(objects) + 1} /Root {_CATALOG} 0 R /Info {_INFO} 0 R >>\n"
        f"startxref\n{table}\n%%EOF\n"
    ).encode()
    return bytes(file)


def _string(text: str) -> bytes:
    """A literal string (section 7.3.4.2)."""
    escaped = text.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)")
    return b"(" + escaped.encode("cp1252", "replace") + b")"


def _wrapped(line: str) -> list[str]:
    shown = "".join(each if _is_plain(each) else _code_point(each) for each in line)
    indent = " " * (len(shown) - len(shown.lstrip()))
    return textwrap.wrap(
        shown, _COLUMNS, subsequent_indent=indent + "  ", break_on_hyphens=False
    ) or [""]


def _is_plain(character: str) -> bool:
    if not character.isprintable():
        return False
    try:
        character.encode("cp1252")
    except UnicodeEncodeError:
        return False
    return True


def _code_point(character: str) -> str:
    number = ord(character)
    return f"\\u{number:04x}" if number < 1 << 16 else f"\\U{number:08x}"
