"""What the server stored opens without any code of ours, as ``docs/formats.md`` says: with stock Tink."""

from __future__ import annotations

import base64
import io
import json
import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap
from cryptography.hazmat.primitives.serialization import load_der_private_key

from tests.support.accounts import bearer, bootstrap, create_tenant
from tests.support.process import ServerProcess
from tests.support.stock_tink import stock_tink

LARGE = random.Random("stock").randbytes(3 * 1_048_576 + 17)
SMALL = LARGE[:3_000]
"""Of a row."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    server = ServerProcess(tmp_path / "data")
    server.start()
    server.wait_until_ready()
    yield server
    server.discard()


def unpadded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class StoredData:
    """A data folder, read with nothing but SQLite, JSON and published algorithms."""

    def __init__(self, data: Path) -> None:
        self._data = data

    def record(self, kind: str, id: str) -> tuple[str, dict[str, Any]]:
        """The partition and the body of the only record of a kind with an id."""
        with closing(sqlite3.connect(self._data / "records.db")) as records:
            [(partition, body)] = records.execute(
                "SELECT partition, body FROM records WHERE kind = ? AND id = ?", (kind, id)
            )
        return str(partition), json.loads(body)

    def object(self, store: str, name: str) -> bytes:
        *folders, last = name.split("/")
        file = self._data.joinpath(store, *folders, last + "=")
        if file.exists():
            return file.read_bytes()
        with closing(sqlite3.connect(self._data / store / ".small.db")) as small:
            [(content,)] = small.execute(
                "SELECT contents.content FROM objects JOIN contents"
                " ON contents.id = objects.content WHERE name = ?",
                (name,),
            )
        return bytes(content)

    def tenant_key(self, tenant: str, version: str) -> rsa.RSAPrivateKey:
        """The private key of a tenant; Azure Key Vault never releases it."""
        name = tenant.replace("_", "-")
        file = json.loads((self._data / "keys" / "keys" / f"{name}.json").read_bytes())
        [stored] = [each for each in file["versions"] if each["version"] == version]
        sealed = unpadded(stored["sealed"].rstrip("="))
        info = f"strongroom/vault/1/private-key/{name}/{version}".encode()
        root = (self._data / "root.key").read_bytes()
        sealing_key = HKDF(SHA256(), 32, salt=None, info=info).derive(root)
        bound_to = f"{name}/{file['use']}/{version}".encode()
        plaintext = AESGCM(sealing_key).decrypt(sealed[:12], sealed[12:], bound_to)
        key = load_der_private_key(plaintext, password=None)
        assert isinstance(key, rsa.RSAPrivateKey)
        return key

    def epoch_key(self, tenant: str, epoch: str) -> bytes:
        partition, stored = self.record("epoch", epoch)
        assert partition == f"{tenant}/main"
        within, intermediate = self.record("intermediate-key", stored["intermediate"])
        assert within == partition
        oaep = padding.OAEP(padding.MGF1(SHA256()), SHA256(), None)
        tenant_key = self.tenant_key(tenant, intermediate["key_version"])
        intermediate_key = tenant_key.decrypt(unpadded(intermediate["wrapped_key"]), oaep)
        return aes_key_unwrap(intermediate_key, unpadded(stored["wrapped_key"]))


@pytest.mark.parametrize("content", [SMALL, LARGE], ids=["a row", "a file"])
def test_stock_tink_opens_what_the_server_stored(server: ServerProcess, content: bytes) -> None:
    with httpx.Client(base_url=server.api, timeout=60) as http:
        token = create_tenant(http, bootstrap(http, server.data), "acme")
        headers = bearer(token) | {"Content-Disposition": 'attachment; filename="paper.bin"'}
        uploaded = http.post("documents", content=content, headers=headers)
        assert uploaded.status_code == 201, uploaded.text
        document = str(uploaded.json()["id"])
    server.stop()

    stored = StoredData(server.data)
    partition, record = stored.record("document", document)
    tenant = partition.partition("/")[0]
    version = record["current"]
    epoch_key = stored.epoch_key(tenant, version["epoch"])
    data_key = aes_key_unwrap(epoch_key, unpadded(version["wrapped_key"]))
    sealed = stored.object("primary", version["object"])
    assert content[:48] not in sealed
    bound_to = f"strongroom/content/1/development/{tenant}/{document}/1".encode()
    with stock_tink(data_key).new_decrypting_stream(io.BytesIO(sealed), bound_to) as opened:
        assert opened.read() == content
