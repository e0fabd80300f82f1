"""Settings: one class, read from the environment, every name prefixed with ``STRONGROOM_``."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, StringConstraints
from pydantic_settings import BaseSettings, SettingsConfigDict

Profile = Literal["embedded", "azure"]
Environment = Literal["development", "staging", "production"]
Schedule = Annotated[str, StringConstraints(pattern=r"^\S+( \S+){5}$")]
"""An NCRONTAB expression of six fields: second minute hour day month weekday."""

BaseUrl = Annotated[str, StringConstraints(pattern=r"^https?://[^/?#]+(/[^?#]*[^/?#])?$")]
"""An address without a trailing slash, a query or a fragment."""

MEBIBYTE = 1_048_576


class Settings(BaseSettings):
    """Everything that can be set from outside. ``local.settings.sample.json`` lists every name.

    Attributes:
        profile: Which adapters stand behind the ports.
        environment: Bound into tokens and into the encryption; objects and tokens of one environment
            are worthless in another.
        data_dir: Where the embedded adapters keep everything.
        root_key_file: Embedded: the file whose 32 bytes protect the key vault, made if it is missing;
            unset: ``root.key`` in the data folder. Keep it elsewhere than the data's backups.
        key_passphrase: Embedded: protects the key vault instead of a root key file.
        public_base_url: The address under which clients see the API, without a trailing slash.
        staged_public_base_url: The address under which clients put the contents of staged uploads.
        bootstrap_secret_sha256: SHA-256 (hexadecimal) of the secret that creates the first operator,
            once; empty: no operator can be created that way.
        max_direct_upload_bytes: The largest content of a direct upload.
        max_staged_upload_bytes: The largest content of a staged upload.
        requests_per_minute: What one user, or one address before sign-in, may ask of one process.
        sign_ins_per_minute: Sign-in attempts that one address may make at one process.
        trusted_proxies: How many proxies of our own stand in front, each appending to
            ``X-Forwarded-For``; 0: the peer's address is the client's.
        outbox_relay_schedule: When events that were committed but not published are looked for.
        upload_sweep_schedule: When abandoned uploads and orphaned objects are removed.
        token_key_rotation_schedule: When the token key ring gets a new key.
    """

    model_config = SettingsConfigDict(
        env_prefix="STRONGROOM_", env_ignore_empty=True, extra="ignore", frozen=True
    )

    profile: Profile = "embedded"
    environment: Environment = "development"
    data_dir: Path = Path("data")
    root_key_file: Path | None = None
    key_passphrase: SecretStr | None = None
    public_base_url: BaseUrl = "http://127.0.0.1:7071"
    staged_public_base_url: BaseUrl = "http://127.0.0.1:7071/staged"
    bootstrap_secret_sha256: Annotated[
        str, StringConstraints(pattern=r"^([0-9a-f]{64})?$", to_lower=True)
    ] = ""
    max_direct_upload_bytes: int = Field(default=100 * MEBIBYTE, ge=1)
    max_staged_upload_bytes: int = Field(default=5_000 * MEBIBYTE, ge=1)
    requests_per_minute: int = Field(default=1_200, ge=1)
    sign_ins_per_minute: int = Field(default=30, ge=1)
    trusted_proxies: int = Field(default=0, ge=0, le=5)
    outbox_relay_schedule: Schedule = "*/15 * * * * *"
    upload_sweep_schedule: Schedule = "0 */10 * * * *"
    token_key_rotation_schedule: Schedule = "0 0 3 * * *"


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """The settings of this process, read once."""
    return Settings()
