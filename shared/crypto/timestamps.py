"""Time stamps (RFC 3161): an authority states that some bytes existed at a time.

The authority sees the SHA-256 of the bytes alone. Who has its root certificate checks a time stamp without
asking anybody: the certificates in it have to be valid at its own time, not today.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cryptography import x509
from rfc3161_client import (
    HashAlgorithm,
    PKIStatus,
    TimestampRequestBuilder,
    TimeStampResponse,
    VerifierBuilder,
    decode_timestamp_response,
)

REQUEST_TYPE: Final = "application/timestamp-query"
REPLY_TYPE: Final = "application/timestamp-reply"
"""Media types (RFC 3161 section 3.4)."""

_SHA256: Final = x509.ObjectIdentifier("2.16.840.1.101.3.4.2.1")


class TimestampError(ValueError):
    """A certificate or a time stamp is malformed or does not verify; the message says why."""


@dataclass(frozen=True, slots=True)
class TimestampRequest:
    """What is sent to an authority.

    Attributes:
        data: A ``TimeStampReq``, DER.
        nonce: Random, 64 bits; the response has to repeat it.
    """

    data: bytes
    nonce: int


@dataclass(frozen=True, slots=True)
class Timestamp:
    """What an authority states, verified.

    Attributes:
        time: When the bytes existed at the latest, UTC.
        authority: The subject of its certificate (RFC 4514).
    """

    time: datetime
    authority: str


def request_timestamp(content: bytes) -> TimestampRequest:
    """A request for a time stamp of some bytes, which are at least one, with the authority's certificate.

    The library takes the nonce from the operating system's randomness.
    """
    request = TimestampRequestBuilder(
        data=content, hash_algorithm=HashAlgorithm.SHA256, nonce=True, cert_req=True
    ).build()
    if request.nonce is None:
        raise AssertionError("a nonce was asked for")
    return TimestampRequest(request.as_bytes(), request.nonce)


def parse_certificates(pem: str) -> tuple[x509.Certificate, ...]:
    """The certificates of a PEM text, one at least.

    Raises:
        TimestampError: There is none, or one is malformed.
    """
    try:
        return tuple(x509.load_pem_x509_certificates(pem.encode()))
    except ValueError:
        raise TimestampError("not PEM with a certificate") from None


def verify_timestamp(
    reply: bytes, content: bytes, roots: Sequence[x509.Certificate], nonce: int | None = None
) -> Timestamp:
    """Verify the time stamp of some bytes.

    Args:
        reply: A ``TimeStampResp``, DER, and nothing after it.
        content: What it should be of.
        roots: Its certificate must chain to one that is self-signed; others may be links of the chain.
        nonce: Of the request; None: whoever verifies did not make the request.

    Raises:
        TimestampError: It was not granted, is of other bytes or answers another request; or signature,
            chain, validity at the time of the stamp or key usage (id-kp-timeStamping, critical) is wrong.
    """
    try:
        response = decode_timestamp_response(reply)
        if response.status != PKIStatus.GRANTED:
            raise TimestampError(f"the authority did not grant it: status {response.status}")
        info = response.tst_info
        if info.message_imprint.hash_algorithm != _SHA256:
            raise TimestampError("its hash is not SHA-256")
        verifier = VerifierBuilder(roots=list(roots), nonce=nonce).build()
        verifier.verify(response, hashlib.sha256(content).digest())
        return Timestamp(info.gen_time, _signer(response).subject.rfc4514_string())
    except TimestampError:
        raise
    except Exception as error:
        # Whatever the libraries make of what somebody sends; their texts go on into traces of OpenSSL.
        reason = str(error).partition(": ErrorStack")[0] or type(error).__name__
        raise TimestampError(f"the time stamp does not verify: {reason}") from None


def _signer(response: TimeStampResponse) -> x509.Certificate:
    """The certificate of who signed, which was verified."""
    [signer] = response.signed_data.signer_infos
    for der in response.signed_data.certificates:
        certificate = x509.load_der_x509_certificate(der)
        if (certificate.issuer, certificate.serial_number) == (signer.issuer, signer.serial_number):
            return certificate
    raise TimestampError("it does not have the certificate of who signed it")
