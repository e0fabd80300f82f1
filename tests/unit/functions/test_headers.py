"""Headers: whatever a client sends is understood or refused, never an error of our own."""

from __future__ import annotations

import base64
import hashlib
import json
from contextlib import suppress
from urllib.parse import quote

from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from functions.api.request_headers import describe, entity_tag, repr_digest
from functions.api.response_headers import digest_header, disposition_header
from shared.base.errors import InvalidInput
from shared.documents.models import Name

HEADERS = st.text(st.characters(max_codepoint=255, exclude_characters="\r\n\x00"), max_size=200)
"""What a server hands over: Latin-1 without line ends."""

NAMES = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=60)  # type: ignore[arg-type]


def acceptable(name: str) -> bool:
    try:
        TypeAdapter(Name).validate_python(name)
    except ValidationError:
        return False
    return name == name.strip()


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
def test_metadata_comes_through(labels: dict[str, str]) -> None:
    for ascii_only in (True, False):
        sent = json.dumps(labels, ensure_ascii=ascii_only).encode().decode("latin-1")
        assert describe('a; filename="x"', None, sent).metadata == labels


@given(st.binary(max_size=50))
def test_a_digest_survives_the_way_there_and_back(content: bytes) -> None:
    digest = hashlib.sha256(content).digest()
    assert repr_digest(digest_header(digest)) == digest
    assert repr_digest(f"sha-512=:AAAA:, {digest_header(digest)}") == digest


@given(HEADERS)
def test_any_digest_is_understood_or_refused(value: str) -> None:
    for sent in (value, f"sha-256=:{value}:"):
        try:
            found = repr_digest(sent)
        except InvalidInput:
            continue
        assert found is not None
        assert base64.b64encode(found).decode() in sent


def test_no_digest_is_none() -> None:
    assert repr_digest(None) is None


@given(HEADERS)
def test_any_entity_tag_is_understood_or_refused(value: str) -> None:
    try:
        tag = entity_tag(value)
    except InvalidInput:
        return
    assert tag is not None
    assert f'"{tag}"' == value.strip()
