"""The Merkle tree: the reference vectors of Certificate Transparency, and a textbook beside it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from shared.crypto import merkle
from tests.support.audit_logs import REFERENCE_LEAVES as LEAVES

# Inputs and roots from the reference implementation's test (google/certificate-transparency,
# cpp/merkletree/merkle_tree_test.cc), also used by trillian and tessera.
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def grown(leaves: Sequence[bytes]) -> bytes:
    frontier: tuple[bytes, ...] = ()
    for size, leaf in enumerate(leaves):
        frontier = merkle.append(frontier, size, merkle.leaf_hash(leaf))
        assert len(frontier) == (size + 1).bit_count()
    return merkle.root(frontier)


def textbook(leaves: Sequence[bytes]) -> bytes:
    """RFC 6962 section 2.1."""
    if len(leaves) < 2:
        return hashlib.sha256(b"\x00" + leaves[0] if leaves else b"").digest()
    k = 1 << ((len(leaves) - 1).bit_length() - 1)
    return hashlib.sha256(b"\x01" + textbook(leaves[:k]) + textbook(leaves[k:])).digest()


def test_the_empty_tree() -> None:
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert grown([]).hex() == merkle.EMPTY_ROOT.hex() == empty


def test_the_reference_vectors() -> None:
    assert [grown(LEAVES[: size + 1]).hex() for size in range(8)] == ROOTS


@given(st.lists(st.binary(max_size=8), max_size=70))
def test_every_size_is_as_in_the_textbook(leaves: list[bytes]) -> None:
    assert grown(leaves) == textbook(leaves)
