"""Sealed content: the Tink AES256-GCM-HKDF streaming format with segments of 1 MiB.

Spec: https://developers.google.com/tink/streaming-aead/aes_gcm_hkdf_streaming with
CiphertextSegmentSize 1,048,576, DerivedKeySize 32, HkdfHashType SHA256 and no key prefix; the
construction is from Hoang, Reyhanitabar, Rogaway, Vizár, "Online Authenticated-Encryption and its
Nonce-Reuse Misuse-Resistance" (CRYPTO 2015), HKDF is RFC 5869. Any Tink opens what is sealed here.

Sealed content is a header and one or more segments. Each segment is authenticated by itself, with
its number and whether it is the last: a reader can start in the middle, and nobody can drop, add,
repeat or reorder segments unseen. Plaintext is released only after its segment's tag was checked.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from shared.base.buffers import Buffer, WritableBuffer, page_aligned
from shared.base.errors import Damaged, TooLarge
from shared.crypto.keys import KEY_SIZE

SALT_SIZE: Final = 32
NONCE_PREFIX_SIZE: Final = 7
HEADER_SIZE: Final = 1 + SALT_SIZE + NONCE_PREFIX_SIZE
"""Bytes of the header; its first byte holds this number."""

TAG_SIZE: Final = 16
SEGMENT_SIZE: Final = 1_048_576
"""Bytes of a sealed segment, tag included. The header counts as part of the first one."""

SEGMENT_PLAINTEXT: Final = SEGMENT_SIZE - TAG_SIZE
FIRST_SEGMENT_PLAINTEXT: Final = SEGMENT_PLAINTEXT - HEADER_SIZE

MAX_SEGMENTS: Final = 2**32
"""The nonce numbers segments with 32 bits."""

_NOT_AUTHENTIC: Final = "The sealed content is not what was written; read another copy of it."


def sealed_size(plaintext_size: int) -> int:
    """The size of sealed content, bytes, whose plaintext has this size."""
    count = _segment_count(plaintext_size)
    return HEADER_SIZE + plaintext_size + count * TAG_SIZE


def plaintext_size(sealed_size: int) -> int:
    """The size of the plaintext, bytes, of sealed content of this size.

    Raises:
        Damaged: No plaintext seals to this size.
    """
    count = max(1, -(-sealed_size // SEGMENT_SIZE))
    size = sealed_size - HEADER_SIZE - count * TAG_SIZE
    if size < 0 or _segment_count(size) != count:
        raise Damaged("The sealed content has an impossible size; read another copy of it.")
    return size


def _segment_count(plaintext_size: int) -> int:
    return max(1, -(-(plaintext_size + HEADER_SIZE) // SEGMENT_PLAINTEXT))


@dataclass(frozen=True, slots=True)
class Segment:
    """Where one segment lies.

    Attributes:
        index: Its number, from 0.
        plaintext_start: Offset of its first byte in the plaintext.
        plaintext_end: Offset after its last byte in the plaintext.
        sealed_start: Offset of its first byte in the sealed content; the header is not part of it.
        sealed_end: Offset after its tag in the sealed content.
        last: Whether the content ends with it.
    """

    index: int
    plaintext_start: int
    plaintext_end: int
    sealed_start: int
    sealed_end: int
    last: bool

    def cut(self, plaintext: memoryview, start: int, end: int) -> memoryview:
        """What a range of the whole plaintext takes from this segment's plaintext.

        Args:
            plaintext: The segment's.
            start: Offset in the whole plaintext.
            end: Offset in the whole plaintext.
        """
        return plaintext[max(0, start - self.plaintext_start) : end - self.plaintext_start]


def segments(plaintext_size: int, start: int = 0, end: int | None = None) -> Iterator[Segment]:
    """The segments that cover the plaintext bytes ``start`` (included) to ``end`` (excluded).

    An empty range needs no segment, except that empty content has one, whose tag shows that it is
    empty.

    Args:
        plaintext_size: Of the whole content, bytes.
        start: Offset in the plaintext.
        end: Offset in the plaintext; None: the plaintext's end.

    Raises:
        ValueError: Not ``0 <= start <= end <= plaintext_size``.
    """
    end = plaintext_size if end is None else end
    if not 0 <= start <= end <= plaintext_size:
        raise ValueError("the range lies outside the content")
    last = _segment_count(plaintext_size) - 1
    if start < end:
        indexes = range(_index_at(start), _index_at(end - 1) + 1)
    else:
        indexes = range(1 if plaintext_size == 0 else 0)
    for index in indexes:
        yield Segment(
            index=index,
            plaintext_start=max(0, index * SEGMENT_PLAINTEXT - HEADER_SIZE),
            plaintext_end=min(plaintext_size, (index + 1) * SEGMENT_PLAINTEXT - HEADER_SIZE),
            sealed_start=max(HEADER_SIZE, index * SEGMENT_SIZE),
            sealed_end=min(sealed_size(plaintext_size), (index + 1) * SEGMENT_SIZE),
            last=index == last,
        )


def _index_at(offset: int) -> int:
    return (offset + HEADER_SIZE) // SEGMENT_PLAINTEXT


class Sealer:
    """Seals content, segment by segment; a ``Conversion`` of its plaintext into its sealed form.

    Args:
        key: The data key, 32 bytes, used for this content alone.
        associated_data: What the content is bound to; opening it takes the same bytes.
        entropy: Cryptographically secure random bytes.
        outputs: How many results of ``convert`` stay as they are: 2 if the next one is prefetched.

    Attributes:
        header: The 40 bytes that come before the first segment.
    """

    __slots__ = ("_aead", "_index", "_outputs", "_sealed_last", "header")

    first_size: Final = FIRST_SEGMENT_PLAINTEXT
    later_size: Final = SEGMENT_PLAINTEXT

    def __init__(
        self,
        key: bytes,
        associated_data: bytes,
        entropy: Callable[[int], bytes],
        *,
        outputs: int = 1,
    ) -> None:
        self.header = bytes([HEADER_SIZE]) + entropy(SALT_SIZE + NONCE_PREFIX_SIZE)
        self._aead = _content_aead(key, associated_data, self.header)
        self._index = 0
        self._sealed_last = False
        self._outputs = deque([memoryview(b"")] * outputs)

    def convert(self, piece: Buffer, *, last: bool) -> memoryview:
        """Seal the next segment, and put the header before the first.

        Raises:
            TooLarge: The content has more than ``MAX_SEGMENTS`` segments.
            ValueError: A wrong size, or the last segment was sealed before.
        """
        start = 0 if self._index else HEADER_SIZE
        size = start + len(piece) + TAG_SIZE
        # Buffers are used again: to make one costs about as much as to seal a segment.
        self._outputs.rotate()
        if len(self._outputs[0]) < size:
            full = size == SEGMENT_SIZE
            self._outputs[0] = page_aligned(size) if full else memoryview(bytearray(size))
        out = self._outputs[0][:size]
        out[:start] = self.header[:start]
        self.seal_segment(piece, out[start:], last=last)
        return out

    def seal_segment(self, plaintext: Buffer, out: WritableBuffer, *, last: bool) -> int:
        """Seal the next segment.

        Args:
            plaintext: Exactly ``FIRST_SEGMENT_PLAINTEXT`` bytes for the first segment and
                ``SEGMENT_PLAINTEXT`` for each later one; the last may be shorter, but is empty only
                if the whole content is.
            out: Takes the ciphertext and its tag; it may be longer.
            last: Whether the content ends with this segment.

        Returns:
            The bytes written: the plaintext's size and ``TAG_SIZE``.

        Raises:
            TooLarge: The content has more than ``MAX_SEGMENTS`` segments.
            ValueError: A wrong size, or the last segment was sealed before.
        """
        if self._sealed_last:
            raise ValueError("the last segment was sealed before")
        if self._index == MAX_SEGMENTS:
            raise TooLarge("The content is larger than 4 PiB; split it.")
        size = len(plaintext)
        if not _is_segment_size(self._index, size, last=last):
            raise ValueError("the plaintext does not have the size of this segment")
        written = self._aead.encrypt_into(
            _nonce(self.header, self._index, last=last),
            plaintext,
            None,
            memoryview(out)[: size + TAG_SIZE],
        )
        self._index += 1
        self._sealed_last = last
        return written


class Opener:
    """Opens the segments of sealed content, in any order.

    Args:
        key: The data key, 32 bytes.
        associated_data: What the content was bound to when it was sealed.
        header: The first ``HEADER_SIZE`` bytes of the sealed content.

    Attributes:
        header: The same.

    Raises:
        Damaged: The header is malformed. That it is the right one shows when a segment opens.
    """

    __slots__ = ("_aead", "header")

    def __init__(self, key: bytes, associated_data: bytes, header: Buffer) -> None:
        self.header = bytes(header)
        if len(self.header) != HEADER_SIZE or self.header[0] != HEADER_SIZE:
            raise Damaged(_NOT_AUTHENTIC)
        self._aead = _content_aead(key, associated_data, self.header)

    def open_segment(self, index: int, sealed: Buffer, out: WritableBuffer, *, last: bool) -> int:
        """Open one segment.

        Args:
            index: The segment's number, from 0.
            sealed: The whole segment, ciphertext and tag.
            out: Takes the plaintext; it may be longer. If the segment is refused, nothing of the
                plaintext is left in it.
            last: Whether the content ends with this segment.

        Returns:
            The bytes written: the size of ``sealed`` less ``TAG_SIZE``.

        Raises:
            Damaged: The segment belongs to other content or to another place, or was changed.
        """
        size = len(sealed) - TAG_SIZE
        if not 0 <= index < MAX_SEGMENTS or not _is_segment_size(index, size, last=last):
            raise Damaged(_NOT_AUTHENTIC)
        target = memoryview(out)[:size]
        try:
            return self._aead.decrypt_into(
                _nonce(self.header, index, last=last), sealed, None, target
            )
        except InvalidTag:
            # The library decrypts before it compares the tag, and leaves what it decrypted.
            target[:] = bytes(size)
            raise Damaged(_NOT_AUTHENTIC) from None


def _content_aead(key: bytes, associated_data: bytes, header: bytes) -> AESGCM:
    """The cipher of the content with this header, under a key of its own."""
    if len(key) != KEY_SIZE:
        raise ValueError("a data key has 32 bytes")
    salt = header[1 : 1 + SALT_SIZE]
    return AESGCM(HKDF(SHA256(), KEY_SIZE, salt=salt, info=associated_data).derive(key))


def _nonce(header: bytes, index: int, *, last: bool) -> bytes:
    return header[-NONCE_PREFIX_SIZE:] + index.to_bytes(4, "big") + (b"\1" if last else b"\0")


def _is_segment_size(index: int, size: int, *, last: bool) -> bool:
    """Whether segment ``index`` can hold ``size`` bytes of plaintext."""
    full = SEGMENT_PLAINTEXT if index else FIRST_SEGMENT_PLAINTEXT
    if not last:
        return size == full
    return (1 if index else 0) <= size <= full
