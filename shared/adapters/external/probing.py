"""Probes: try step by step what a target needs, and say what is wrong with the first step that fails."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Sequence
from typing import Final

from shared.adapters.external.dialing import Dialer, NotDialedError
from shared.adapters.external.endpoints import Endpoint
from shared.base.buffers import Buffer
from shared.base.errors import StrongroomError, Unavailable
from shared.ports.clock import Runtime
from shared.ports.targets import ProbeResult, ProbeStep, TargetStore

_OTHER_NAME: Final = frozenset({62, 64})
"""X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH."""

_OTHER_TIME: Final = frozenset({9, 10})
"""X509_V_ERR_CERT_NOT_YET_VALID and X509_V_ERR_CERT_HAS_EXPIRED."""


async def probe_network(
    dialer: Dialer, endpoint: Endpoint, certificate: str
) -> Sequence[ProbeResult]:
    """Try whether an endpoint can be reached: its name, its host, its certificate.

    Args:
        dialer: Connects, as the gate does.
        endpoint: To this.
        certificate: A certificate, PEM, that is trusted besides the machine's own; empty: none.
    """
    results = []
    step: ProbeStep = "resolve"
    try:
        addresses = await dialer.addresses(endpoint.host, endpoint.port)
        results.append(ProbeResult(step, ok=True))
        step = "connect"
        connection = await dialer.connect(addresses, endpoint.port)
        results.append(ProbeResult(step, ok=True))
        step = "tls"
        await _shake_hands(connection, endpoint.host, certificate, dialer.timeout)
        results.append(ProbeResult(step, ok=True))
    except NotDialedError as error:
        results.append(ProbeResult(step, ok=False, detail=error.reason.value))
    except Unavailable as error:
        results.append(ProbeResult(step, ok=False, detail=error.detail))
    return results


async def _shake_hands(
    connection: socket.socket, host: str, certificate: str, seconds: float
) -> None:
    """Begin TLS, and close the connection.

    Raises:
        Unavailable: It cannot be, or must not.
    """
    context = ssl.create_default_context()
    if certificate:
        context.load_verify_locations(cadata=certificate)
    try:
        async with asyncio.timeout(seconds):
            _, writer = await asyncio.open_connection(
                sock=connection, ssl=context, server_hostname=host
            )
            writer.transport.abort()
    except ssl.SSLCertVerificationError as error:
        if error.verify_code in _OTHER_NAME:
            raise Unavailable("The host's certificate is for another name.") from None
        if error.verify_code in _OTHER_TIME:
            raise Unavailable("The host's certificate has expired.") from None
        raise Unavailable(
            "The host's certificate is not of an authority that is trusted."
        ) from None
    except TimeoutError:
        raise Unavailable("The host did not begin TLS in time.") from None
    except OSError:
        raise Unavailable("The host does not speak TLS 1.2 or later.") from None


async def probe_objects(store: TargetStore, runtime: Runtime) -> Sequence[ProbeResult]:
    """Try whether objects can be written, read, listed and deleted; the object for that goes again."""
    name = f"probe-{runtime.random(16).hex()}"
    try:
        results = [await _tried("write", _write(store, name))]
        if results[-1].ok:
            results.append(await _tried("read", _read(store, name)))
        # Whatever became of the others: also a write that seems to have failed may have left an object.
        deleted = await _tried("delete", store.delete(name))
    except BaseException:
        with contextlib.suppress(StrongroomError):
            await store.delete(name)
        raise
    if not deleted.ok:
        left = f"{deleted.detail} The object {name} was left; delete it."
        deleted = ProbeResult("delete", ok=False, detail=left)
    return [*results, deleted] if results[-1].ok else results


async def _tried(step: ProbeStep, work: Awaitable[None]) -> ProbeResult:
    try:
        await work
    except StrongroomError as error:
        return ProbeResult(step, ok=False, detail=error.detail)
    return ProbeResult(step, ok=True)


async def _write(store: TargetStore, name: str) -> None:
    async def content() -> AsyncIterator[Buffer]:
        yield name.encode()

    await store.put(name, content(), len(name))


async def _read(store: TargetStore, name: str) -> None:
    read = b"".join([piece async for piece in store.get(name)])
    if read != name.encode():
        raise Unavailable("The target gave back something else than was written.")
    if [info.name async for info in store.list(name)] != [name]:
        raise Unavailable("The target does not list what was written.")
