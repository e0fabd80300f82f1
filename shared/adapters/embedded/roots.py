"""The root of an embedded key vault: 32 bytes, from a key file or from a passphrase."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from pydantic import BaseModel, ConfigDict, Field

from shared.adapters.embedded.folders import (
    ExposedError,
    make_private_folder,
    read_private_file,
    write_private_file,
)
from shared.base.errors import Unavailable
from shared.ports.clock import Entropy

ROOT_BYTES: Final = 32


class Argon2Parameters(BaseModel):
    """How a passphrase becomes a root: RFC 9106, by default its second recommended option.

    The bounds keep a damaged file from asking for all of the memory.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", ser_json_bytes="base64", val_json_bytes="base64"
    )

    salt: bytes = Field(min_length=16, max_length=64)
    iterations: int = Field(default=3, ge=1, le=16)
    lanes: int = Field(default=4, ge=1, le=16)
    memory_kib: int = Field(default=65_536, ge=8_192, le=1_048_576)


@dataclass(frozen=True, slots=True)
class NewRoot:
    """The root of a new key vault.

    Attributes:
        root: 32 bytes.
        parameters: What the key vault keeps in order to find it again; None: nothing.
    """

    root: bytes = field(repr=False)
    parameters: Argon2Parameters | None


class RootKeySource(Protocol):
    """Where a vault's root key comes from. The methods block, some for a tenth of a second.

    Attributes:
        name: What an operator calls it: the setting, and the path if it is a file.
    """

    name: str

    def begin(self, entropy: Entropy) -> NewRoot:
        """The root of a new key vault, durable if it is stored.

        Raises:
            Unavailable: The root key that was found is malformed, or cannot be used.
        """
        ...

    def load(self, parameters: Argon2Parameters | None) -> bytes:
        """The root of the vault that kept these parameters.

        Raises:
            Unavailable: The vault's root came from another kind of source, is missing, or cannot be
                used.
        """
        ...


class RootKeyFile:
    """A root key in a file of its own, mode 0600, made with a new vault unless it is there.

    Whoever has this file and the vault's folder has every key: keep them apart in backups.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.name = f"the root key file {path} (setting STRONGROOM_ROOT_KEY_FILE)"

    def begin(self, entropy: Entropy) -> NewRoot:
        """See ``RootKeySource.begin``."""
        try:
            if not self._path.exists():
                make_private_folder(self._path.parent)
                write_private_file(self._path, entropy(ROOT_BYTES))
        except OSError as error:
            raise Unavailable(f"Cannot make {self.name}: {error.strerror}.") from error
        return NewRoot(self.load(None), None)

    def load(self, parameters: Argon2Parameters | None) -> bytes:
        """See ``RootKeySource.load``."""
        if parameters is not None:
            raise Unavailable(
                "The key vault was made with a passphrase; set it (STRONGROOM_KEY_PASSPHRASE)."
            )
        try:
            root = read_private_file(self._path)
        except FileNotFoundError:
            raise Unavailable(f"The key vault needs {self.name}; put it back.") from None
        except OSError as error:
            raise Unavailable(f"Cannot read {self.name}: {error.strerror}.") from error
        except ExposedError as error:
            raise Unavailable(f"{error} It is {self.name}.") from None
        if len(root) != ROOT_BYTES:
            raise Unavailable(f"No root key: {self.name} must hold {ROOT_BYTES} bytes.")
        return root


class Passphrase:
    """A root key made from a passphrase. Choose a long one: it is all that protects the keys."""

    name = "the passphrase (setting STRONGROOM_KEY_PASSPHRASE)"

    def __init__(self, passphrase: str) -> None:
        self._passphrase = passphrase

    def begin(self, entropy: Entropy) -> NewRoot:
        """See ``RootKeySource.begin``."""
        parameters = Argon2Parameters(salt=entropy(16))
        return NewRoot(self.load(parameters), parameters)

    def load(self, parameters: Argon2Parameters | None) -> bytes:
        """See ``RootKeySource.load``."""
        if parameters is None:
            raise Unavailable(
                "The key vault was made with a root key file; name it (STRONGROOM_ROOT_KEY_FILE)"
                " and unset STRONGROOM_KEY_PASSPHRASE."
            )
        return Argon2id(
            salt=parameters.salt,
            length=ROOT_BYTES,
            iterations=parameters.iterations,
            lanes=parameters.lanes,
            memory_cost=parameters.memory_kib,
        ).derive(self._passphrase.encode())
