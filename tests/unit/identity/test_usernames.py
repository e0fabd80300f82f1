"""Usernames: the profile of RFC 8265, what we refuse beyond it, and the form of release 0.1."""

from __future__ import annotations

import sys
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.identity.usernames import MAX_LENGTH, attempted, canonical, former, forms

# What is typed, what is kept, and where that is said.
ACCEPTED = [
    ("juliet@example.com", "juliet@example.com", "RFC 8265 section 3.5, 1"),
    ("fussball", "fussball", "RFC 8265 section 3.5, 2"),
    ("fu\u00dfball", "fu\u00dfball", "RFC 8265 section 3.5, 3"),
    ("\u03c0", "\u03c0", "RFC 8265 section 3.5, 4"),
    ("\u03a3", "\u03c3", "RFC 8265 section 3.5, 5"),
    ("\u03c3", "\u03c3", "RFC 8265 section 3.5, 6"),
    ("\u03c2", "\u03c2", "RFC 8265 section 3.5, 7"),
    ("Juliet", "juliet", "RFC 8265 section 3.3.2, case mapping"),
    ("\uff41\uff4c\uff49\uff43\uff45", "alice", "RFC 8265 section 3.3.2, width mapping"),
    ("\uff88\uff7a", "\u30cd\u30b3", "RFC 8265 section 3.3.2, width mapping"),
    ("jose\u0301@x.de", "jos\u00e9@x.de", "RFC 8265 section 3.3.2, normalization"),
    ("JOSE\u0301@X.DE", "jos\u00e9@x.de", "RFC 8265 section 3.3.2, normalization"),
    ("\u05e9\u05dc\u05d5\u05dd", "\u05e9\u05dc\u05d5\u05dd", "RFC 5893 section 2, all from right to left"),
    ("l\u00b7l", "l\u00b7l", "RFC 5892 appendix A.3"),
    ("\u6570\u30fb\u5b66", "\u6570\u30fb\u5b66", "RFC 5892 appendix A.7"),
    ("\u0915\u094d\u200d\u0937", "\u0915\u094d\u200d\u0937", "RFC 5892 appendix A.2"),
    ("\u3007\u4e00", "\u3007\u4e00", "RFC 5892 section 2.6"),
    ("\ud55c\uae00", "\ud55c\uae00", "RFC 8264 section 9.11"),
    ("o'neil+tag_1%x!#$&*", "o'neil+tag_1%x!#$&*", "RFC 8264 section 9.11, ASCII7"),
    ("\u0438\u0432\u0430\u043d@example.com", "\u0438\u0432\u0430\u043d@example.com", "ours: one script"),
    ("  anna ", "anna", "ours: spaces at the ends"),
    ("e\u0301" * MAX_LENGTH, "\u00e9" * MAX_LENGTH, "ours: the length is that of what is kept"),
]  # fmt: skip

REFUSED = [
    ("foo bar", "RFC 8265 section 3.5, 8"),
    ("", "RFC 8265 section 3.5, 9"),
    ("henry\u2163", "RFC 8265 section 3.5, 10"),
    ("\u265a", "RFC 8265 section 3.5, 11"),
    ("admin\u200b", "RFC 8264 section 9.13: ZERO WIDTH SPACE"),
    ("ad\u00admin", "RFC 8264 section 9.13: SOFT HYPHEN"),
    ("admin\ufe0f", "RFC 8264 section 9.13: VARIATION SELECTOR-16"),
    ("admin\U000e0101", "RFC 8264 section 9.13: VARIATION SELECTOR-18"),
    ("ad\u034fmin", "RFC 8264 section 9.13: COMBINING GRAPHEME JOINER"),
    ("admin\ufeff", "RFC 8264 section 9.13: ZERO WIDTH NO-BREAK SPACE"),
    ("\u3164", "RFC 8264 section 9.13: HANGUL FILLER"),
    ("\u2800", "RFC 8264 section 9.15: BRAILLE PATTERN BLANK"),
    ("admin\U000e0041", "RFC 8264 section 9.13: TAG LATIN CAPITAL LETTER A"),
    ("gnp\u202eexe", "RFC 8264 section 9.13: RIGHT-TO-LEFT OVERRIDE"),
    ("\u2066admin\u2069", "RFC 8264 section 9.13: isolates"),
    ("admin\u200d", "RFC 5892 appendix A.2: ZERO WIDTH JOINER alone"),
    ("ad\u200cmin", "RFC 5892 appendix A.1: ZERO WIDTH NON-JOINER alone"),
    ("a\u00b7b", "RFC 5892 appendix A.3"),
    ("\u0627\u0661\u06f1", "RFC 5892 appendix A.8"),
    ("\u0640\u0627", "RFC 5892 section 2.6: ARABIC TATWEEL"),
    ("\u1113\u1161", "RFC 8264 section 9.9: conjoining Hangul"),
    ("\ufb01n", "RFC 8264 section 9.17: a ligature"),
    ("\u212aevin", "RFC 8264 section 9.17: KELVIN SIGN"),
    ("\U0001d41admin", "RFC 8264 section 9.17: MATHEMATICAL BOLD SMALL A"),
    ("\u01c5", "RFC 8264 section 9.18: a title-case letter"),
    ("a\tb", "RFC 8264 section 9.12"),
    ("a\x00", "RFC 8264 section 9.12"),
    ("\x7f", "RFC 8264 section 9.12"),
    ("anna\n", "RFC 8264 section 9.12, also at the end"),
    ("anna\u00a0", "RFC 8264 section 9.14, also at the end"),
    ("\u3000anna", "RFC 8264 section 9.14: the full-width space"),
    ("\u0378", "RFC 8264 section 9.6: unassigned"),
    ("\ue000", "RFC 8264 section 8: private use"),
    ("\ud800", "RFC 8264 section 8: a surrogate"),
    ("\ufdd0", "RFC 8264 section 9.13: no character"),
    ("a\u05d0", "RFC 5893 section 2: from left to right, and back"),
    ("\u05e9@x", "RFC 5893 section 2: from right to left, and back"),
    ("\u0301a", "ours: begins with a combining mark"),
    ("p\u0430ypal", "ours: Cyrillic in a Latin word"),
    ("\u03bfscar", "ours: Greek in a Latin word"),
    ("admi\u0307n", "ours: a second dot"),
    ("\u0130", "ours: a second dot"),
    ("\u0130" * MAX_LENGTH, "ours: longer once it is mapped"),
    ("a" * (MAX_LENGTH + 1), "ours: too long"),
    ("   ", "ours: nothing is left"),
]


@pytest.mark.parametrize(("typed", "kept", "source"), ACCEPTED)
def test_a_username_is_mapped_as_the_profile_says(typed: str, kept: str, source: str) -> None:
    assert canonical(typed) == kept, source
    assert canonical(kept) == kept


@pytest.mark.parametrize(("typed", "source"), REFUSED)
def test_what_is_no_username_is_refused_and_not_repeated(typed: str, source: str) -> None:
    with pytest.raises(ValueError, match=r"^A .*\.$") as refused:
        canonical(typed)
    text = str(refused.value)
    assert not any(ord(character) > 0x7E for character in text.replace("\u0130", "")), source


def test_no_character_is_accepted_in_two_forms() -> None:
    """A kept name is kept as it is: for every character, marks beside a letter."""
    accepted = 0
    for character in map(chr, range(sys.maxunicode + 1)):
        category = unicodedata.category(character)
        try:
            kept = canonical(f"a{character}" if category.startswith("M") else character)
        except ValueError:
            continue
        assert category not in {"Cn", "Co", "Cs"}
        assert canonical(kept) == kept
        accepted += 1
    assert accepted > 100_000


@given(st.text(max_size=12))
@example("\u0130\u0301")
@example("\u03a3\u03a3")
@example("\uac00")
@example("\uac01\uac00")
def test_a_kept_name_is_kept_in_each_of_its_forms(text: str) -> None:
    try:
        kept = canonical(text)
    except ValueError:
        return
    assert canonical(kept) == kept
    assert canonical(unicodedata.normalize("NFD", kept)) == kept
    assert unicodedata.is_normalized("NFC", kept)
    assert 0 < len(kept) <= MAX_LENGTH


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("Anna", ("anna",)),
        (" ANNA ", ("anna",)),
        ("jos\u00e9", ("jos\u00e9", "jose\u0301")),
        ("jose\u0301", ("jose\u0301", "jos\u00e9")),
        ("\uff21nna", ("\uff41nna", "anna")),
        ("\u265a King", ("\u265a king",)),
    ],
)
def test_the_forms_in_which_an_account_may_be_kept(typed: str, expected: tuple[str, ...]) -> None:
    assert forms(typed) == expected


@given(st.text(max_size=12))
def test_attempts_at_all_forms_of_a_name_are_counted_together(text: str) -> None:
    assert former(text) in forms(text)
    for form in forms(text):
        assert attempted(form) == attempted(text)
