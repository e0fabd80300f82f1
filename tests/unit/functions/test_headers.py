"""Headers: whatever a client sends is understood or refused, never an error of our own."""

from __future__ import annotations

import base64
import hashlib
import json
import time
import unicodedata
from contextlib import suppress
from urllib.parse import quote

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from starlette.datastructures import Headers

from functions.api.digests import DigestRefused, repr_digest, stated_digests
from functions.api.dispositions import file_name_in
from functions.api.request_headers import describe, entity_tag
from functions.api.response_headers import digest_header, disposition_header
from shared.base.errors import InvalidInput
from shared.documents.media_types import parse_media_type
from shared.documents.texts import file_name, labels

HEADERS = st.text(st.characters(max_codepoint=255, exclude_characters="\r\n\x00"), max_size=200)
"""What a server hands over: Latin-1 without line ends."""

SLASHES = str.maketrans("/\\", "--")
"""Metadata may have them."""

NAMES = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=60)  # type: ignore[arg-type]


def acceptable(name: str) -> bool:
    try:
        return file_name(name) == name
    except ValueError:
        return False


@given(NAMES)
def test_every_name_survives_the_way_there_and_back(name: str) -> None:
    assume(acceptable(name))
    sent = disposition_header(name)
    assert sent.isascii()
    assert sent.isprintable()
    assert describe(sent, None, None).name == name
    assert quote(name, safe="") in sent


@given(HEADERS, HEADERS, HEADERS)
def test_any_description_is_understood_or_refused(
    disposition: str, media_type: str, metadata: str
) -> None:
    for first in (
        disposition,
        f"attachment; filename={disposition}",
        f"a; filename*={disposition}",
    ):
        with suppress(InvalidInput):
            assert acceptable(describe(first, media_type, metadata).name)


@given(st.dictionaries(st.from_regex(r"[A-Za-z0-9_.-]{1,64}", fullmatch=True), NAMES, max_size=32))
def test_metadata_comes_through(sent: dict[str, str]) -> None:
    kept = {key: text for key, text in sent.items() if acceptable(text.translate(SLASHES))}
    for ascii_only in (True, False):
        header = json.dumps(kept, ensure_ascii=ascii_only).encode().decode("latin-1")
        normal = {key: unicodedata.normalize("NFC", text) for key, text in kept.items()}
        assert describe('a; filename="x"', None, header).metadata == normal


@given(st.binary(max_size=50))
def test_a_digest_survives_the_way_there_and_back(content: bytes) -> None:
    digest = hashlib.sha256(content).digest()
    assert repr_digest(digest_header(digest)) == {"sha256": digest}
    assert repr_digest(f"crc32=:AAAA:, {digest_header(digest)}") == {"sha256": digest}
    longer = hashlib.sha512(content).digest()
    both = f"sha-512=:{base64.b64encode(longer).decode()}:, {digest_header(digest)}"
    assert repr_digest(both) == {"sha256": digest, "sha512": longer}
    # RFC 9651 section 4.2.2: of a key that comes twice the last value counts.
    twice = f"{digest_header(bytes(32))}, {digest_header(digest)}"
    assert repr_digest(twice) == {"sha256": digest}


@given(HEADERS)
def test_any_digest_is_understood_or_refused(value: str) -> None:
    for sent in (value, f"sha-256=:{value}:"):
        try:
            found = repr_digest(sent)
        except InvalidInput:
            continue
        assert found
        for digest in found.values():
            assert base64.b64encode(digest).decode()[:-4] in sent


def test_no_digest_is_none() -> None:
    assert repr_digest(None) == stated_digests(Headers()) == {}


@given(HEADERS)
def test_any_entity_tag_is_understood_or_refused(value: str) -> None:
    try:
        tag = entity_tag(value)
    except InvalidInput:
        return
    assert tag is not None
    assert f'"{tag}"' == value.strip()


PARTS = st.sampled_from(
    [
        *("attachment", "inline", ";", "=", '"', "\\", "'", "*", "%", " ", "filename", "filename*"),
        *("filename*0", "filename*0*", "filename*1*", "filename*" + "9" * 5_000, "UTF-8''", "%ff"),
        *("utf-16''", "idna''", "\xff", "a.pdf", "%e2%82%ac", "=?UTF-8?B?YQ==?="),
    ]
)


@given(st.lists(PARTS | HEADERS, max_size=20).map("".join))
def test_any_disposition_is_understood_or_refused(value: str) -> None:
    with suppress(ValueError):
        assert file_name_in(value)
    with suppress(InvalidInput):
        assert acceptable(describe(value, None, None).name)


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("attachment; filename*=UTF-8''a.pdf; filename*0=b", "a.pdf"),
        ("attachment; filename*0*=nonsense''%ff; filename=c.pdf", "c.pdf"),
        (f"attachment; filename*{'9' * 5_000}=b; filename=c.pdf", "c.pdf"),
        ("attachment; filename*=UTF-8''%ff; filename=plain.pdf", "plain.pdf"),
        ('attachment; filename*0="a "; filename*1=b.pdf', "a b.pdf"),
        ("attachment; filename*0*=UTF-8''%e2%82; filename*1*=%ac.pdf", "\u20ac.pdf"),
        ("attachment; filename*=UTF-8''it's%20(1).pdf", "it's (1).pdf"),
        ("attachment; filename=two words.pdf", "two words.pdf"),
        ('attachment; filename="a;b=\\"c\\".pdf"', 'a;b="c".pdf'),
    ],
)
def test_dispositions_that_mail_programs_and_scripts_send(value: str, name: str) -> None:
    assert file_name_in(value) == name


@pytest.mark.parametrize(
    "value",
    [
        "",
        "attachment",
        "attachment; filename*=UTF-8''%ff",
        "attachment; filename*=UTF-8''100%",
        "attachment; filename*=a.pdf",
        "attachment; filename*0*=nonsense''%ff",
        f"attachment; filename*{'9' * 5_000}=b",
        'attachment; filename="a',
        'attachment; filename="a"b"',
        "attachment; filename=a; filename=b",
    ],
)
def test_dispositions_without_a_name_that_can_be_read(value: str) -> None:
    with pytest.raises(ValueError, match=r"\.$"):
        file_name_in(value)


@given(HEADERS)
def test_any_media_type_is_understood_or_refused(value: str) -> None:
    for sent in (value, f"text/plain;{value}", f'text/plain; a="{value}"'):
        with suppress(ValueError):
            kept = parse_media_type(sent)
            assert parse_media_type(kept) == kept
            assert kept.isascii()


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ('text/plain; charset="utf-8"', 'text/plain; charset="utf-8"'),
        ("application/pdf;", "application/pdf"),
        (
            "text/csv ;charset=iso-8859-1 ; header=present",
            "text/csv; charset=iso-8859-1; header=present",
        ),
        (r'a/b; c="\"; d=\\"', r'a/b; c="\"; d=\\"'),
    ],
)
def test_media_types_keep_their_parameters(sent: str, kept: str) -> None:
    assert parse_media_type(sent) == kept


NOT_SHOWN = "\u200b\u200c\u200d\u200e\u200f\u202a\u202e\u2066\u2069"
NOT_SHOWN += "\ufeff\u00ad\u2060\u3164\ue000\x00\x85\u2028\ufe0f"


@given(st.text(st.sampled_from(f"ab. {NOT_SHOWN}"), max_size=8))
def test_a_name_in_latin_letters_shows_all_of_its_characters(name: str) -> None:
    legible = all(char in "ab. " for char in name)
    fits = bool(name) and name == name.strip(" ") and name not in {".", ".."}
    assert acceptable(name) == (legible and fits)


def test_keys_of_metadata_that_are_the_same_are_refused() -> None:
    for header in ('{"a": "1", "a": "2"}', '{"\u00e9": "1", "e\u0301": "2"}'):
        with pytest.raises(InvalidInput) as refused:
            describe("a; filename=x", None, header.encode().decode("latin-1"))
        assert list(refused.value.faults) == ["header.Strongroom-Metadata"]
    assert not acceptable("\ufe0f\u20e3")
    assert acceptable("1\ufe0f\u20e3")
    assert labels({"Stra\u00dfe": "Bahnhofstr. 1", "\u0928\u093e\u092e": "x"})


def test_each_field_is_refused_with_its_own_sentence() -> None:
    with pytest.raises(InvalidInput) as refused:
        describe("attachment", "text", "[]")
    faults = refused.value.faults
    assert list(faults) == [
        "header.Content-Disposition",
        "header.Content-Type",
        "header.Strongroom-Metadata",
    ]
    assert len(set(faults.values())) == 3
    with pytest.raises(InvalidInput) as refused:
        describe("attachment; filename=a", "text", None)
    assert refused.value.detail == faults["header.Content-Type"]


@given(
    st.dictionaries(
        st.sampled_from(["Repr-Digest", "Content-Digest", "Content-MD5", "Digest", "X-Goog-Hash"]),
        HEADERS
        | st.sampled_from([f"sha-256=:{'A' * 43}=:", f"sha-512=:{'A' * 86}==:", "A" * 22 + "=="]),
    )
)
def test_any_stated_digests_are_understood_or_refused(sent: dict[str, str]) -> None:
    try:
        found = stated_digests(Headers(sent))
    except DigestRefused:
        return
    assert bool(found) == bool(sent)
    assert all(len(digest) in {16, 32, 64} for digest in found.values())


def test_a_text_takes_no_more_time_than_its_length() -> None:
    marks = "\u0315\u0300\u05ae\u0301"
    started = time.process_time()
    for _ in range(3):
        assert not acceptable("a" + marks * 15_000)
    with pytest.raises(ValueError, match="characters"):
        labels({f"k{number}": "a" + marks * 500 for number in range(32)})
    assert time.process_time() - started < 0.1
    assert acceptable("\u1f82" * 255)
    assert file_name(unicodedata.normalize("NFD", "\u1f82" * 255)) == "\u1f82" * 255
