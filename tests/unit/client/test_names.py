"""File names for documents, whose own names are anybody's text."""

from __future__ import annotations

import unicodedata
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.recover.names import MAX_NAME_BYTES, assign_names, safe_name

names = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)


def key(name: str, document: str = "doc_1", version: int = 1) -> Any:
    object_name = f"keys/{document}/{version}.aaaa.age"
    return SimpleNamespace(name=name, document=document, version=version, object_name=object_name)


def assigned(
    *keys: Any, newest: set[str] | None = None, known: dict[str, str] | None = None
) -> Any:
    """The names, in the order of the keys; each is a newest version unless said otherwise."""
    newest = {each.object_name for each in keys} if newest is None else newest
    names = assign_names(keys, newest, known or {})
    return [names[each.object_name] for each in keys]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("contract.pdf", "contract.pdf"),
        ("Überschuß & Verlust 2026.xlsx", "Überschuß & Verlust 2026.xlsx"),
        ("../../etc/passwd", "_.._.._etc_passwd"),
        ("/etc/passwd", "_etc_passwd"),
        ("C:\\Windows\\system.ini", "C__Windows_system.ini"),
        (".bashrc", "_.bashrc"),
        (".strongroom", "_.strongroom"),
        ("..", "unnamed"),
        ("", "unnamed"),
        ("   ", "unnamed"),
        ("a\nb\x1b[31m\x00", "a_b_[31m_"),
        ("invoice\u202egpj.exe", "invoice_gpj.exe"),
        ("CON", "_CON"),
        ("nul.txt", "_nul.txt"),
        ("console.txt", "console.txt"),
        ("ends. . ", "ends"),
        (unicodedata.normalize("NFD", "é.txt"), "é.txt"),
    ],
)
def test_a_name_is_kept_as_far_as_it_is_safe(name: str, expected: str) -> None:
    assert safe_name(name) == expected


def test_a_long_name_keeps_its_extension() -> None:
    name = safe_name("ß" * 300 + ".pdf")
    assert name.endswith("ß.pdf")
    assert len(name.encode()) <= MAX_NAME_BYTES


@given(names)
def test_no_name_leads_anywhere_else(name: str) -> None:
    safe = safe_name(name)
    assert 0 < len(safe.encode()) <= MAX_NAME_BYTES
    assert not set('/\\:*?"<>|\0') & set(safe)
    assert safe.isprintable()
    assert not safe.startswith(".")
    assert safe_name(safe) == safe


@given(st.lists(st.sampled_from(["a.txt", "A.TXT", "a (2).txt", "a (version 1).txt", ".."])))
def test_no_name_is_given_twice(wanted: list[str]) -> None:
    keys = [key(name, f"doc_{number}") for number, name in enumerate(wanted)]
    newest = {each.object_name for each in keys[::2]}
    given_names = assigned(*keys, newest=newest)
    assert len({name.casefold() for name in given_names}) == len(keys)


def test_earlier_versions_have_their_number_in_the_name() -> None:
    keys = [key("a.txt", version=number) for number in (1, 2, 3)]
    newest = {keys[2].object_name}
    assert assigned(*keys, newest=newest) == ["a (version 1).txt", "a (version 2).txt", "a.txt"]


def test_many_documents_of_one_name_are_counted() -> None:
    keys = [key("scan.pdf", f"doc_{number}") for number in range(20_000)]
    given_names = assigned(*keys)
    assert given_names[:3] == ["scan.pdf", "scan (2).pdf", "scan (3).pdf"]
    assert len(set(given_names)) == 20_000


def test_a_name_of_an_earlier_run_stays_and_is_given_to_no_other_document() -> None:
    first, second = key("a.txt", "doc_1"), key("a.txt", "doc_2")
    known = {second.object_name: "a.txt"}
    assert assigned(first, second, known=known) == ["a (2).txt", "a.txt"]
    assert assigned(first, known=known) == ["a (2).txt"]


def test_a_new_version_takes_over_the_name_of_the_version_before() -> None:
    old, new = key("a.txt", version=1), key("a.txt", version=2)
    assert assigned(new, known={old.object_name: "a.txt"}) == ["a.txt"]


def test_with_all_versions_the_version_before_keeps_the_name_that_it_has() -> None:
    old, new = key("a.txt", version=1), key("a.txt", version=2)
    known = {old.object_name: "a.txt"}
    newest = {new.object_name}
    assert assigned(old, new, newest=newest, known=known) == ["a.txt", "a (version 2).txt"]
