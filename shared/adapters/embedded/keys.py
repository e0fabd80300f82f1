"""FileKeyVault: a key vault in software, in a folder."""

from __future__ import annotations

import contextlib
import fcntl
import hmac
import os
import threading
from collections.abc import Iterator
from pathlib import Path

from shared.adapters import softkeys
from shared.adapters.checks import check_digest, check_key_name, check_plaintext
from shared.adapters.embedded.folders import (
    TEMPORARY_PREFIX,
    make_private_folder,
    read_regular,
    write_private_file,
)
from shared.adapters.embedded.keyfiles import (
    KeyFile,
    KeyVersion,
    VaultFile,
    derive_key,
    open_private_key,
    seal_private_key,
)
from shared.adapters.embedded.roots import RootKeySource
from shared.adapters.embedded.threads import on_disk
from shared.adapters.measuring import measured
from shared.adapters.softkeys import PrivateKey
from shared.base.errors import Conflict, Damaged, NotFound, Unavailable
from shared.ports.clock import Clock, Entropy
from shared.ports.keys import KeyUse, Signature, WrappedKey


class FileKeyVault:
    """A ``KeyVault`` in the folder ``path``, made when first used, mode 0700; its files have 0600.

    Every operation reads the key's file, so several processes may share a vault. A private key is
    in memory in clear for the time of one operation, the root for as long as this object lives.

    Args:
        path: The folder.
        root: Where the root key comes from.
        clock: Dates the versions.
        entropy: Makes version names, nonces and, in a new vault, the root.
    """

    def __init__(self, path: Path, root: RootKeySource, clock: Clock, entropy: Entropy) -> None:
        self._path = path
        self._source = root
        self._clock = clock
        self._entropy = entropy
        self._lock = threading.Lock()
        self._known_root: bytes | None = None

    def derive(self, purpose: str) -> bytes:
        """32 bytes for a purpose of this installation, always the same; blocks when first used.

        Raises:
            Unavailable: The passphrase or root key file is not this vault's or cannot be used, or the
                folder cannot.
            Damaged: The vault's own file is damaged.
        """
        try:
            return derive_key(self._root(), f"purpose/{purpose}")
        except OSError as error:
            raise Unavailable(
                f"The key vault's folder {self._path} cannot be used: {error.strerror}."
            ) from error

    @measured
    async def create(self, name: str, use: KeyUse) -> str:
        """See ``KeyVault.create``."""
        check_key_name(name)
        return await on_disk(self._create, name, use)

    @measured
    async def wrap(self, name: str, plaintext: bytes) -> WrappedKey:
        """See ``KeyVault.wrap``."""
        check_key_name(name)
        check_plaintext(plaintext)
        return await on_disk(self._wrap, name, plaintext)

    @measured
    async def unwrap(self, wrapped: WrappedKey) -> bytes:
        """See ``KeyVault.unwrap``."""
        check_key_name(wrapped.name)
        return await on_disk(self._unwrap, wrapped)

    @measured
    async def sign(self, name: str, digest: bytes) -> Signature:
        """See ``KeyVault.sign``."""
        check_key_name(name)
        check_digest(digest)
        return await on_disk(self._sign, name, digest)

    @measured
    async def public_key(self, name: str, version: str | None = None) -> bytes:
        """See ``KeyVault.public_key``."""
        check_key_name(name)
        return await on_disk(self._public_key, name, version)

    @measured
    async def rotate(self, name: str) -> str:
        """See ``KeyVault.rotate``."""
        check_key_name(name)
        return await on_disk(self._rotate, name)

    @measured
    async def destroy(self, name: str) -> None:
        """See ``KeyVault.destroy``. The sealed keys leave the file; the name stays taken."""
        check_key_name(name)
        await on_disk(self._destroy, name)

    def _create(self, name: str, use: KeyUse) -> str:
        root = self._root()
        stored = self._read(name)
        if stored is None:
            # Made before the lock is taken: an RSA key can take a second.
            fresh = self._new_version(root, name, use)
            with self._exclusive():
                stored = self._read(name)
                if stored is None:
                    stored = KeyFile(name=name, use=use, versions=(fresh,))
                    self._write(stored)
        if not stored.versions:
            raise Conflict("A key of this name was destroyed; choose another name.")
        if stored.use != use:
            raise Conflict("A key of this name exists for another use.")
        return stored.versions[-1].version

    def _rotate(self, name: str) -> str:
        fresh = self._new_version(self._root(), name, self._existing(name).use)
        with self._exclusive():
            stored = self._existing(name)
            self._write(stored.model_copy(update={"versions": (*stored.versions, fresh)}))
        return fresh.version

    def _destroy(self, name: str) -> None:
        self._root()
        with self._exclusive():
            stored = self._read(name)
            if stored is not None and stored.versions:
                self._write(stored.model_copy(update={"versions": ()}))

    def _wrap(self, name: str, plaintext: bytes) -> WrappedKey:
        version, key = self._key(name)
        return WrappedKey(name, version, softkeys.wrap(key, plaintext))

    def _unwrap(self, wrapped: WrappedKey) -> bytes:
        _, key = self._key(wrapped.name, wrapped.version)
        return softkeys.unwrap(key, wrapped.ciphertext)

    def _sign(self, name: str, digest: bytes) -> Signature:
        version, key = self._key(name)
        return Signature(name, version, softkeys.sign(key, digest))

    def _public_key(self, name: str, version: str | None) -> bytes:
        _, key = self._key(name, version)
        return softkeys.public_pem(key)

    def _key(self, name: str, version: str | None = None) -> tuple[str, PrivateKey]:
        """A version of a key, the current one unless one is named.

        Raises:
            NotFound: There is no such key or version, or the key was destroyed.
        """
        root = self._root()
        stored = self._existing(name)
        for candidate in reversed(stored.versions):
            if version in (None, candidate.version):
                return candidate.version, open_private_key(root, name, stored.use, candidate)
        raise NotFound("There is no such version of the key.")

    def _existing(self, name: str) -> KeyFile:
        stored = self._read(name)
        if stored is None or not stored.versions:
            raise NotFound("There is no such key.")
        return stored

    def _new_version(self, root: bytes, name: str, use: KeyUse) -> KeyVersion:
        version = self._entropy(16).hex()
        key = softkeys.make_private_key(use)
        return KeyVersion(
            version=version,
            created_at=self._clock.now(),
            sealed=seal_private_key(root, name, use, version, key, self._entropy),
        )

    def _read(self, name: str) -> KeyFile | None:
        try:
            stored = KeyFile.decode(read_regular(self._key_path(name)))
        except FileNotFoundError:
            return None
        if stored.name != name:
            raise Damaged("A file of the key vault holds another key; restore it from a backup.")
        return stored

    def _write(self, stored: KeyFile) -> None:
        write_private_file(self._key_path(stored.name), stored.encode())

    def _key_path(self, name: str) -> Path:
        return self._path / "keys" / f"{name}.json"

    def _root(self) -> bytes:
        with self._lock:
            if self._known_root is None:
                self._known_root = self._open()
            return self._known_root

    def _open(self) -> bytes:
        """The root key, checked; a new vault is made if there is none.

        Raises:
            Unavailable: It is another vault's.
            Damaged: The vault's own file is damaged.
        """
        keys = self._path / "keys"
        make_private_folder(keys)
        path = self._path / "vault.json"
        with self._exclusive():
            for folder in (self._path, keys):
                for leftover in folder.glob(TEMPORARY_PREFIX + "*"):
                    leftover.unlink()
            if not path.exists():
                if any(keys.iterdir()):
                    raise Damaged("The key vault's vault.json is missing; restore it.")
                new = self._source.begin(self._entropy)
                file = VaultFile(argon2id=new.parameters, check=derive_key(new.root, "check"))
                write_private_file(path, file.encode())
                return new.root
            stored = VaultFile.decode(read_regular(path))
        root = self._source.load(stored.argon2id)
        if not hmac.compare_digest(derive_key(root, "check"), stored.check):
            raise Unavailable(
                f"Wrong root key: {self._source.name} is not the one that this key vault was made with."
            )
        return root

    @contextlib.contextmanager
    def _exclusive(self) -> Iterator[None]:
        """Be the only one, among threads and processes, that changes the vault."""
        descriptor = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)
