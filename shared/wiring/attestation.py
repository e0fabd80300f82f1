"""Attestations, put together: witnesses and a time stamp authority, where the operator names some."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Final

from shared.attestation.asking import WitnessClient
from shared.attestation.stamps import Authority, Stamps
from shared.attestation.timer import Attestations
from shared.attestation.witnesses import MAX_WITNESSES, Witnesses
from shared.crypto.policies import NONE, Policy, parse_policy
from shared.crypto.timestamps import parse_certificates
from shared.journal.agenda import Agenda
from shared.ports.posting import Poster, is_loopback_url, is_service_url
from shared.wiring.audit import Audit
from shared.wiring.settings import Settings

LINE_END: Final = "|"
"""Stands for the end of a line in settings that hold files: not every host of settings keeps one."""


def witness_policy(settings: Settings) -> Policy | None:
    """The witnesses of the settings and their quorum; None where there are none.

    Raises:
        ValueError: The policy cannot be read, is malformed, asks for no witness, or has one that cannot be
            posted to; the message names the setting.
    """
    name, text = _text(settings, "audit_witness_policy")
    if not text:
        return None
    try:
        policy = parse_policy(f"{text}\n")
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    if policy.quorum == NONE:
        raise ValueError(f"{name}: the quorum is none; leave the setting out to have no witness")
    if len(policy.witnesses) > MAX_WITNESSES:
        raise ValueError(f"{name}: more than {MAX_WITNESSES} witnesses")
    for witness in policy.witnesses:
        if not _is_url(witness.url, settings):
            raise ValueError(f"{name}: the witness {witness.name} needs a URL that is https")
    return policy


def timestamp_authority(settings: Settings) -> Authority | None:
    """The time stamp authority of the settings; None where there is none.

    Raises:
        ValueError: Its URL cannot be posted to, its certificates cannot be read or are malformed, or one of
            both is missing; the message names the setting.
    """
    name, text = _text(settings, "audit_timestamp_roots")
    if not settings.audit_timestamp_url and not text:
        return None
    if not _is_url(settings.audit_timestamp_url, settings):
        raise ValueError("STRONGROOM_AUDIT_TIMESTAMP_URL: the authority needs a URL that is https")
    try:
        roots = parse_certificates(text)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    every = timedelta(minutes=settings.audit_timestamp_minutes)
    return Authority(settings.audit_timestamp_url, roots, every)


def build_attestations(
    settings: Settings, audit: Audit, agenda: Agenda, poster: Poster
) -> Attestations:
    """Put the services of attestations together."""
    records, runtime = audit.log.records, audit.log.runtime
    policy, authority = witness_policy(settings), timestamp_authority(settings)
    witnesses = stamps = None
    if policy is not None:
        client = WitnessClient(poster, audit.checkpoints, audit.keys, runtime)
        witnesses = Witnesses(audit.reader, client, policy)
    if authority is not None:
        stamps = Stamps(records, poster, authority, runtime)
    return Attestations(records, audit.checkpoints, agenda, witnesses, stamps)


def _text(settings: Settings, name: str) -> tuple[str, str]:
    """The name of the setting that holds a file, or names one, and what is in it."""
    setting = f"STRONGROOM_{name.upper()}"
    file: Path | None = getattr(settings, f"{name}_file")
    if file is None:
        return setting, getattr(settings, name).replace(LINE_END, "\n").strip()
    if getattr(settings, name):
        raise ValueError(f"{setting} and {setting}_FILE are both set; leave one out")
    try:
        return f"{setting}_FILE", file.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError):
        raise ValueError(f"{setting}_FILE: {file} cannot be read") from None


def _is_url(url: str, settings: Settings) -> bool:
    """Whether a service may be at a URL; on one machine, it may be on the same one as well."""
    return is_service_url(url) or (settings.profile == "embedded" and is_loopback_url(url))
