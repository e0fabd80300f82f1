"""Settings: one class, read from the environment, every name prefixed with ``STRONGROOM_``."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, StringConstraints, model_validator
from pydantic.config import JsonDict
from pydantic_settings import BaseSettings, SettingsConfigDict

from shared.access.networks import StaffNetworks, parse_staff_networks
from shared.policy.models import Retention, RetentionBounds

Profile = Literal["embedded", "azure"]
Environment = Literal["development", "staging", "production"]
KeyProtection = Literal["hardware", "software"]
Telemetry = Literal["off", "console", "otlp", "azure-monitor"]
Schedule = Annotated[str, StringConstraints(pattern=r"^\S+( \S+){5}$")]
"""An NCRONTAB expression of six fields: second minute hour day month weekday."""
Service = Annotated[
    str, StringConstraints(pattern=r"^(https://[^/;]+(/[^;]*)?|[\w.-]+|\w+=.*;.*)$")
]
"""A service's URL or host name; a connection string only for an emulator on this machine."""

Counts = Annotated[str, StringConstraints(pattern=r"^\d{1,4}( \d{1,4}){3}$")]
"""Hourly, daily, monthly and yearly sets, four numbers with spaces between."""

Origins = Annotated[
    str,
    StringConstraints(pattern=r"^(https?://[^/?#*@\s]+( https?://[^/?#*@\s]+)*)?$", to_lower=True),
]
"""Origins as browsers write them, with spaces between."""


def _networks(text: str) -> str:
    try:
        parse_staff_networks(text)
    except ValueError as error:
        raise ValueError(f"it needs networks such as 203.0.113.0/28: {error}") from None
    return text


Networks = Annotated[str, AfterValidator(_networks)]
"""Networks in CIDR notation, with commas between."""

HeaderName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9-]+$")]
BaseUrl = Annotated[str, StringConstraints(pattern=r"^https?://[^/?#]+(/[^?#]*[^/?#])?$")]
"""A URL without a trailing slash, a query or a fragment."""


# With a copy of the key vault, passphrases can be tried at home: Argon2id makes each try slow, and
# length makes them many. Rules about the kinds of characters add little (NIST SP 800-63B).
MIN_PASSPHRASE = 12


def _long_enough(passphrase: SecretStr) -> SecretStr:
    # Not pydantic's own check of the length: its message tells how long the passphrase is.
    if len(passphrase.get_secret_value()) < MIN_PASSPHRASE:
        raise ValueError(f"it must have at least {MIN_PASSPHRASE} characters")
    return passphrase


Passphrase = Annotated[SecretStr, AfterValidator(_long_enough)]

MEBIBYTE = 1_048_576
AZURE_SERVICES = (
    "primary_account_url",
    "replica_account_url",
    "staging_account_url",
    "backup_account_url",
    "backup_keys_account_url",
    "cosmos_endpoint",
    "key_vault_url",
    "service_bus_namespace",
)
ATTESTATION = (
    "audit_witness_policy",
    "audit_witness_policy_file",
    "audit_timestamp_url",
    "audit_timestamp_roots",
    "audit_timestamp_roots_file",
)
EMBEDDED: JsonDict = {"profile": "embedded"}


class Settings(BaseSettings):
    """Everything that can be set from outside. ``local.settings.sample.json`` lists every name.

    Attributes:
        profile: Which adapters stand behind the ports.
        environment: Bound into tokens and into the encryption; objects and tokens of one environment
            are worthless in another.
        data_dir: Where the embedded adapters keep everything.
        backup_dir: Embedded: where the backups are kept; unset: ``backup`` in the data folder. Keep them
            on other media than the data.
        targets_dir: Embedded: the folder below which tenants may have targets of the kind ``folder``; it
            must exist. Unset: they may not.
        root_key_file: Embedded: the file whose 32 bytes protect the key vault, made if it is missing;
            unset: ``root.key`` in the data folder. Keep it elsewhere than the data's backups.
        key_passphrase: Embedded: protects the key vault instead of a root key file; at least 12
            characters.
        public_base_url: The URL under which clients see the API, without a trailing slash.
        staged_public_base_url: The URL under which clients put the content of staged uploads,
            where a gateway stands in front; unset: the staging account's own on Azure, ``/staged``
            below ``public_base_url`` otherwise.
        bootstrap_secret_sha256: SHA-256 (hexadecimal) of the secret that creates the first operator,
            once; empty: no operator can be created that way.
        max_direct_upload_bytes: The largest content of a direct upload.
        max_staged_upload_bytes: The largest content of a staged upload.
        requests_per_minute: What one user, or one address before sign-in, may ask of one process.
        sign_ins_per_minute: Sign-in attempts that one address may make at one process.
        trusted_proxies: How many proxies of our own stand in front, each appending the address that
            it saw to ``client_address_header``; 0: the peer's address is the client's.
        client_address_header: The header in which those proxies say it. The Functions host replaces
            ``X-Forwarded-For``, so a gateway before it has to use another.
        staff_networks: The networks, such as ``203.0.113.0/28,2001:db8::/48``, from which alone employees
            may sign in and make requests; empty: as far as the app is concerned, from anywhere.
        cors_origins: The origins, such as ``https://app.example.com``, with spaces between, whose web
            applications may call the API from a browser; empty: none may. On Azure the template does
            not set it yet.
        longest_delivery_pause_seconds: How long a function at most keeps a message whose delivery
            failed, so that not every try is used up at once; 0 where the host of the functions gives
            failed messages back later by itself, as ``standalone`` does. The Functions host does not.
        outbox_relay_schedule: When events that were committed but not published are looked for.
        upload_sweep_schedule: When abandoned uploads and orphaned objects are removed.
        token_key_rotation_schedule: When the token key ring gets a new key.
        tenant_key_rotation_schedule: When to look for tenant keys whose rotation is due.
        restore_schedule: When restores that were started are worked on.
        restore_drill_schedule: When drills that are due are run.
        restore_drill_days: How often each tenant has a drill.
        backup_schedule: When sets are made of what changed, and expired ones are removed.
        backup_verification_schedule: When verifications of the backups are worked on.
        tenant_key_rotation_days: A tenant's key is rotated when it is so old.
        trash_schedule: When documents whose time in the trash is over are erased.
        target_copies_schedule: When what waits for targets is copied there.
        webhooks_schedule: When what is new in the audit logs is pushed to the collectors of tenants.
        backup_retention_min: The fewest hourly, daily, monthly and yearly backup sets that a tenant's
            policy may keep.
        backup_retention_max: The most.
        audit_checkpoint_schedule: When the audit logs that have grown are put into tiles and signed.
        audit_checkpoint_seconds: What is appended to a log in a time window of this length gets one
            checkpoint; on Azure each costs some writes.
        audit_key_rotation_schedule: When to look whether the keys that sign checkpoints are due for
            rotation.
        audit_key_rotation_days: They are rotated when they are so old.
        audit_retention_days: How long the tiles of audit logs, which hold every entry, cannot be removed.
        audit_index_days: How long the index keeps an entry, by which the audit log is searched; it can be
            made anew from the tiles.
        audit_monitor_schedule: When the audit logs that have grown, or are due, are compared with all that
            the service has of them.
        grant_expiry_schedule: When the audit logs are told which staff grants are over.
        access_reviews_schedule: When access reviews that are due are opened, and what nobody confirmed in
            them is suspended and revoked.
        review_days: How often each tenant has an access review.
        review_decide_days: How long there is to decide about an item, until its role is suspended.
        review_suspended_days: How long a role stays suspended, until it is revoked.
        audit_monitor_days: Within so many days each audit log is compared as a whole.
        audit_downloads_per_hour: So many documents that one user opens within an hour raise an alert.
        audit_log_host: What the name of every audit log begins with, which its checkpoints carry. It must
            never change; unset: the host of ``public_base_url``.
        audit_attestation_schedule: When witnesses and the time stamp authority are asked about audit logs.
        audit_witness_policy: Who cosigns checkpoints, and how many of them are a quorum: a policy
            (c2sp.org/tlog-policy) in which each witness has its URL; ``|`` can stand for the end of a line.
            Empty: nobody.
        audit_witness_policy_file: Embedded: the file with that policy, in its place.
        audit_timestamp_url: The time stamp authority (RFC 3161) that stamps checkpoints; empty: none does.
        audit_timestamp_roots: The certificates, PEM, that the authority's has to chain to, ``|`` as above.
        audit_timestamp_roots_file: Embedded: the file with them, in its place.
        audit_timestamp_minutes: A log that grows gets a time stamp this often at most.
        primary_account_url: The blob endpoint of the account whose container ``primary`` holds sealed
            content.
        replica_account_url: The same of the account in the second region, container ``replica``.
        staging_account_url: The same of the account that takes staged uploads, container
            ``staging``.
        backup_account_url: The same of the account in the second region that takes backups and audit logs,
            containers ``backup`` and ``audit``, whose objects cannot be changed or removed before their
            date.
        backup_keys_account_url: The same of the account of the backups' keys, container ``backup-keys``,
            which keeps no version and no deleted copy of an object.
        cosmos_endpoint: The endpoint of the Cosmos DB account.
        cosmos_database: The database, with the containers ``records`` and ``directory``.
        key_vault_url: The URL of the Key Vault of tenant keys.
        key_protection: Where that key vault makes new keys: ``hardware``, or ``software``, which costs
            nothing a key. Keys stay where they were made.
        service_bus_namespace: The host name of the Service Bus namespace.
        telemetry: Where traces and metrics go: nowhere, to standard output, to a collector by OTLP, or to
            the Application Insights that the Functions host's own setting names.
        telemetry_endpoint: Embedded, for ``otlp``: the collector's base URL, for OTLP over HTTP.
        telemetry_trace_ratio: The share of traces that is kept. Metrics are not affected.

    A field whose ``json_schema_extra`` names the profile ``embedded`` means nothing on Azure, and
    the infrastructure does not set it; it sets every other field.
    """

    model_config = SettingsConfigDict(
        env_prefix="STRONGROOM_", env_ignore_empty=True, extra="ignore", frozen=True
    )

    profile: Profile = "embedded"
    environment: Environment = "development"
    data_dir: Path = Field(default=Path("data"), json_schema_extra=EMBEDDED)
    backup_dir: Path | None = Field(default=None, json_schema_extra=EMBEDDED)
    targets_dir: Path | None = Field(default=None, json_schema_extra=EMBEDDED)
    root_key_file: Path | None = Field(default=None, json_schema_extra=EMBEDDED)
    key_passphrase: Passphrase | None = Field(default=None, json_schema_extra=EMBEDDED)
    public_base_url: BaseUrl = "http://127.0.0.1:7071"
    staged_public_base_url: BaseUrl | None = None
    bootstrap_secret_sha256: Annotated[
        str, StringConstraints(pattern=r"^([0-9a-f]{64})?$", to_lower=True)
    ] = ""
    max_direct_upload_bytes: int = Field(default=100 * MEBIBYTE, ge=1)
    max_staged_upload_bytes: int = Field(default=5_000 * MEBIBYTE, ge=1)
    requests_per_minute: int = Field(default=1_200, ge=1)
    sign_ins_per_minute: int = Field(default=30, ge=1)
    trusted_proxies: int = Field(default=0, ge=0, le=5)
    client_address_header: HeaderName = "X-Forwarded-For"
    staff_networks: Networks = ""
    cors_origins: Origins = ""
    longest_delivery_pause_seconds: int = Field(default=0, ge=0, le=600)
    outbox_relay_schedule: Schedule = "*/15 * * * * *"
    upload_sweep_schedule: Schedule = "0 */10 * * * *"
    token_key_rotation_schedule: Schedule = "0 0 3 * * *"
    tenant_key_rotation_schedule: Schedule = "0 */10 * * * *"
    restore_schedule: Schedule = "*/10 * * * * *"
    restore_drill_schedule: Schedule = "0 */10 * * * *"
    restore_drill_days: int = Field(default=30, ge=1, le=366)
    backup_schedule: Schedule = "30 * * * * *"
    backup_verification_schedule: Schedule = "45 * * * * *"
    tenant_key_rotation_days: int = Field(default=365, ge=1, le=3_650)
    trash_schedule: Schedule = "30 */10 * * * *"
    target_copies_schedule: Schedule = "15 * * * * *"
    webhooks_schedule: Schedule = "*/15 * * * * *"
    backup_retention_min: Counts = "24 7 0 0"
    backup_retention_max: Counts = "168 366 120 30"
    audit_checkpoint_schedule: Schedule = "*/5 * * * * *"
    audit_checkpoint_seconds: int = Field(default=5, ge=1, le=60)
    audit_key_rotation_schedule: Schedule = "0 15 3 * * *"
    audit_key_rotation_days: int = Field(default=365, ge=91, le=3_650)
    audit_retention_days: int = Field(default=3_653, ge=1, le=36_500)
    audit_index_days: int = Field(default=3_653, ge=30, le=36_500)
    audit_monitor_schedule: Schedule = "40 */5 * * * *"
    grant_expiry_schedule: Schedule = "25 * * * * *"
    access_reviews_schedule: Schedule = "50 */10 * * * *"
    review_days: int = Field(default=91, ge=7, le=366)
    review_decide_days: int = Field(default=14, ge=1, le=90)
    review_suspended_days: int = Field(default=14, ge=1, le=90)
    audit_monitor_days: int = Field(default=30, ge=1, le=366)
    audit_downloads_per_hour: int = Field(default=200, ge=1, le=2_000)
    audit_log_host: Annotated[str, StringConstraints(pattern=r"^[a-z0-9.:\[\]-]+$")] | None = None
    audit_attestation_schedule: Schedule = "20 * * * * *"
    audit_witness_policy: str = ""
    audit_witness_policy_file: Path | None = Field(default=None, json_schema_extra=EMBEDDED)
    audit_timestamp_url: str = ""
    audit_timestamp_roots: str = ""
    audit_timestamp_roots_file: Path | None = Field(default=None, json_schema_extra=EMBEDDED)
    audit_timestamp_minutes: int = Field(default=60, ge=1, le=1_440)
    primary_account_url: Service | None = None
    replica_account_url: Service | None = None
    staging_account_url: Service | None = None
    backup_account_url: Service | None = None
    backup_keys_account_url: Service | None = None
    cosmos_endpoint: Service | None = None
    cosmos_database: str = "strongroom"
    key_vault_url: Service | None = None
    key_protection: KeyProtection = "hardware"
    service_bus_namespace: Service | None = None
    telemetry: Telemetry = "off"
    telemetry_endpoint: BaseUrl = Field(default="http://127.0.0.1:4318", json_schema_extra=EMBEDDED)
    telemetry_trace_ratio: float = Field(default=1.0, ge=0, le=1)

    @model_validator(mode="after")
    def _azure_is_complete(self) -> Self:
        if self.profile == "azure":
            missing = [name for name in AZURE_SERVICES if getattr(self, name) is None]
            if missing:
                names = ", ".join("STRONGROOM_" + name.upper() for name in missing)
                raise ValueError(f"the profile azure needs these settings as well: {names}")
        return self

    @model_validator(mode="after")
    def _retention_bounds_leave_room(self) -> Self:
        try:
            _ = self.retention_bounds
        except ValueError:
            raise ValueError(
                "STRONGROOM_BACKUP_RETENTION_MIN and STRONGROOM_BACKUP_RETENTION_MAX leave nothing"
                " to choose: each number of the first must be at most that of the second, and no"
                " more than 8784 hourly, 3660 daily, 1200 monthly and 100 yearly sets"
            ) from None
        return self

    @model_validator(mode="after")
    def _attestations_can_be_had(self) -> Self:
        if self.is_attested:
            # Imported where there is something to parse alone: importing is most of a cold start.
            from shared.wiring.attestation import timestamp_authority, witness_policy

            witness_policy(self)
            timestamp_authority(self)
        return self

    @property
    def is_attested(self) -> bool:
        """Whether witnesses or a time stamp authority are named."""
        return any(getattr(self, name) for name in ATTESTATION)

    @property
    def allowed_origins(self) -> tuple[str, ...]:
        """Each of ``cors_origins``."""
        return tuple(self.cors_origins.split())

    @property
    def staff(self) -> StaffNetworks:
        """The networks of ``staff_networks``."""
        return parse_staff_networks(self.staff_networks)

    @property
    def log_host(self) -> str:
        """The host in the names of audit logs."""
        return self.audit_log_host or urlsplit(self.public_base_url).netloc

    @property
    def retention_bounds(self) -> RetentionBounds:
        """What the policies of tenants may say about the retention of backups."""
        return RetentionBounds(
            Retention.parse(self.backup_retention_min), Retention.parse(self.backup_retention_max)
        )


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """The settings of this process, read once."""
    return Settings()
