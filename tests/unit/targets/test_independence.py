"""Independence: a target opens with age and stock Tink alone; nothing of ours takes part."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
from typing import Any

import pyrage
import pytest

from tests.support.stock_tink import stock_tink
from tests.support.targets import HOLDERS, TargetData, new_target

pytestmark = pytest.mark.anyio

CONTENT = bytes(range(256)) * 3 * 4096
"""Three segments."""


def recover(objects: dict[str, bytes], identity: Any) -> dict[str, bytes]:
    """Every content by name, as docs/formats.md says, section "Independent copy (targets)"."""
    assert json.loads(objects["strongroom.json"])["format"] == "strongroom-target/1"
    recovered = {}
    for name, file in objects.items():
        if not name.startswith("keys/"):
            continue
        key = json.loads(pyrage.decrypt(file, [identity]))
        sealed = objects[key["object"]]
        assert len(sealed) == key["sealed_size"]
        assert hashlib.sha256(sealed).hexdigest() == key["sealed_sha256"]
        tink = stock_tink(base64.urlsafe_b64decode(key["data_key"] + "="))
        associated_data = key["associated_data"].encode()
        with tink.new_decrypting_stream(io.BytesIO(sealed), associated_data) as stream:
            content = stream.read()
        assert len(content) == key["size"]
        assert hashlib.sha256(content).hexdigest() == key["sha256"]
        recovered[key["name"]] = content
    return recovered


def multiply(left: int, right: int) -> int:
    """In GF(2^8) with the polynomial of AES, bit by bit."""
    product = 0
    while right:
        product ^= left if right & 1 else 0
        left = left << 1 ^ (0x11B if left & 0x80 else 0)
        right >>= 1
    return product


def divide(left: int, right: int) -> int:
    return next(value for value in range(256) if multiply(value, right) == left)


def join(shares: list[tuple[int, bytes]]) -> bytes:
    """Shares combined as docs/formats.md says, without our code."""
    text = bytearray(len(shares[0][1]))
    for i, share in shares:
        weight = 1
        for j, _ in shares:
            if j != i:
                weight = multiply(weight, divide(j, j ^ i))
        for position, value in enumerate(share):
            text[position] ^= multiply(weight, value)
    return bytes(text)


@pytest.mark.parametrize("holder", range(3))
async def test_any_holder_recovers_everything(data: TargetData, holder: int) -> None:
    process = data.start()
    await process.set_up()
    await process.documents.create(CONTENT)
    await data.work(process)
    assert recover(data.objects(), HOLDERS[holder]) == {"paper.txt": CONTENT}


async def test_a_quorum_recovers_everything(data: TargetData) -> None:
    process = data.start()
    await process.set_up(new_target(quorum=2))
    await process.documents.create(CONTENT)
    await data.work(process)
    objects = data.objects()
    shares = []
    for index in (3, 2):
        held = json.loads(pyrage.decrypt(objects[f"holders/{index}.age"], [HOLDERS[index - 1]]))
        shares.append((held["index"], base64.urlsafe_b64decode(held["share"] + "==")))
    assert re.fullmatch(rb"AGE-SECRET-KEY-1[A-Z0-9]{58}", join(shares))
    identity = pyrage.x25519.Identity.from_str(join(shares).decode())
    assert recover(objects, identity) == {"paper.txt": CONTENT}
    with pytest.raises(pyrage.DecryptError):
        recover(objects, HOLDERS[1])


def test_the_keyset_of_the_page_is_what_tink_writes() -> None:
    """The 12 bytes that docs/formats.md puts before a data key make Tink's own key."""
    from tink import json_proto_keyset_format, secret_key_access, streaming_aead  # type: ignore[import-untyped]

    streaming_aead.register()
    data_key = bytes(range(32))
    value = base64.b64encode(bytes.fromhex("12080880804010201803 1a20") + data_key).decode()
    keyset = json.dumps(
        {
            "primaryKeyId": 1,
            "key": [
                {
                    "keyId": 1,
                    "status": "ENABLED",
                    "outputPrefixType": "RAW",
                    "keyData": {
                        "typeUrl": "type.googleapis.com/google.crypto.tink.AesGcmHkdfStreamingKey",
                        "keyMaterialType": "SYMMETRIC",
                        "value": value,
                    },
                }
            ],
        }
    )
    handle = json_proto_keyset_format.parse(keyset, secret_key_access.TOKEN)
    page = handle.primitive(streaming_aead.StreamingAead)
    sealed = io.BytesIO()
    sealed.close = lambda: None  # type: ignore[method-assign]
    with stock_tink(data_key).new_encrypting_stream(sealed, b"bound") as stream:
        stream.write(b"content")
    with page.new_decrypting_stream(io.BytesIO(sealed.getvalue()), b"bound") as stream:
        assert stream.read() == b"content"
