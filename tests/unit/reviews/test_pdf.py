"""Lines of text as PDF."""

from __future__ import annotations

import re
import zlib

import pytest

from shared.reviews.pdf import pdf


def text_of(document: bytes) -> str:
    streams = re.findall(rb"stream\n(.*?)\nendstream", document, re.DOTALL)
    return "\n".join(zlib.decompress(stream).decode("cp1252") for stream in streams)


@pytest.mark.parametrize("lines", [0, 1, 59, 60, 61, 500])
def test_every_object_is_where_the_table_says(lines: int) -> None:
    document = pdf("A title", [f"line {number}" for number in range(lines)])
    assert document.startswith(b"%PDF-1.7\n")
    start = int(re.search(rb"startxref\n(\d+)\n%%EOF\n$", document)[1])  # type: ignore[index]
    table = document[start:].split(b"\n")
    assert table[0] == b"xref"
    size = int(table[1].split()[1])
    for number, entry in enumerate(table[3 : 2 + size], start=1):
        assert len(entry) == 19  # and the line feed: 20 bytes, as section 7.5.4 has it
        assert document[int(entry[:10]) :].startswith(b"%d 0 obj\n" % number)
    pages = document.count(b"/Type /Page ")
    assert f"/Count {pages} ".encode() in document
    assert f"page {pages} of {pages}" in text_of(document)
    assert all(f"(line {number})" in text_of(document) for number in range(lines))


def test_text_cannot_leave_its_string() -> None:
    shown = text_of(pdf(r") Tj (\\", [r"(a) \) Tj ET endstream", "tab\there", "Zażółć €"]))
    assert r"(\(a\) \\\) Tj ET endstream) Tj" in shown
    assert r"tab\\u0009here" in shown
    assert r"Za\\u017có\\u0142\\u0107 €" in shown


def test_long_lines_are_wrapped_and_equal_lines_make_equal_bytes() -> None:
    lines = ["word " * 100, "x" * 500]
    document = pdf("A title", lines)
    assert document == pdf("A title", lines)
    shown = re.findall(r"\((.*)\) Tj T\*", text_of(document))
    assert max(len(line) for line in shown) <= 91
    assert "".join(shown).replace(" ", "") == "word" * 100 + "x" * 500
