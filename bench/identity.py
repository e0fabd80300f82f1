"""Sign-ins a second at the server, and token checks a second beside those of the usual libraries."""

import asyncio
import json
import os
import secrets
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import jwt
from joserfc import jwe, jwk

from bench.clients import Rounds, at_once, request_bytes, seconds
from bench.servers import Server
from shared.access.permissions import Role
from shared.crypto.passwords import hash_password, verify_password
from shared.crypto.tokens import TOKEN_LIFETIME
from shared.identity.models import User
from shared.identity.tokens import Tokens
from shared.ports.clock import SystemClock, system_entropy
from shared.wiring.services import build
from shared.wiring.settings import Settings

SIGNERS = 2
"""Clients that sign in at once: as many as the cores, which a password keeps busy."""

ALGORITHMS = ["dir", "A256GCM"]


def sign_ins(server: Server, password: str, each: int, rounds: int) -> Rounds:
    """Sign in as the administrator, and verify as many Argon2id hashes in this process, in turn."""
    body = json.dumps({"tenant": "bench", "username": "admin", "password": password}).encode()
    headers = {"Content-Type": "application/json"}
    requests = [request_bytes("POST", "/api/v1/auth/sign-in", headers, body)] * SIGNERS
    phc = hash_password(password, os.urandom)

    def verify(_: int) -> None:
        if not verify_password(password, phc):
            raise RuntimeError("the password does not fit its hash")

    measured = Rounds([], [])
    with ThreadPoolExecutor(SIGNERS) as threads:
        for _ in range(rounds):
            measured.bare.append(seconds(lambda: list(threads.map(verify, range(SIGNERS * each)))))
            measured.ours.append(at_once(server, requests, each, status=b"200"))
    return measured


@dataclass(frozen=True)
class Checks:
    """Tokens checked a second, on one core: the product's, PyJWT's with HS256, joserfc's with A256GCM.

    ``ours`` is of tokens that the process sees for the first time, ``again`` of those that it remembers.
    """

    ours: float
    again: float
    pyjwt: float
    joserfc: float


async def token_checks(folder: Path, count: int, rounds: int) -> Checks:
    """Check tokens, the three in turn: each of ours once, and once more; one of the others over and over.

    Ours is what the API's guard calls. The others check the same claims' signature and expiry (PyJWT), or
    decrypt them and no more (joserfc).

    Args:
        folder: An empty one, for keys.
        count: Checks in a round.
        rounds: How many.
    """
    services = build(Settings(data_dir=folder), SystemClock(), system_entropy)
    try:
        return await _checks(services.tokens, count, rounds)
    finally:
        await services.close()


async def _checks(tokens: Tokens, count: int, rounds: int) -> Checks:
    now = datetime.now(UTC)
    user = User(
        id="usr_" + "0" * 26,
        tenant="ten_" + "0" * 26,
        username="bench",
        roles=(Role.MEMBER,),
        password="",
        created_at=now,
    )
    claims = {
        "env": "development",
        "tenant": user.tenant,
        "sub": user.id,
        "roles": ["member"],
        "epoch": 0,
        "iat": int(now.timestamp()),
        "exp": int((now + TOKEN_LIFETIME).timestamp()),
        "jti": "tok_" + "0" * 26,
    }
    secret = secrets.token_bytes(32)
    signed = jwt.encode(claims, secret, "HS256")
    key = jwk.OctKey.import_key(secret)
    header = {"alg": "dir", "enc": "A256GCM", "kid": "bench"}
    sealed = jwe.encrypt_compact(header, json.dumps(claims), key, algorithms=ALGORITHMS)

    def by_pyjwt() -> object:
        return jwt.decode(signed, secret, ["HS256"])

    def by_joserfc() -> object:
        plaintext = jwe.decrypt_compact(sealed, key, algorithms=ALGORITHMS).plaintext
        return json.loads(plaintext or b"")

    def repeated(check: Callable[[], object]) -> float:
        return seconds(lambda: [check() for _ in range(count)])

    async def by_us(issued: list[str]) -> float:
        begin = time.perf_counter()
        for token in issued:
            await tokens.read(token)
        return time.perf_counter() - begin

    taken: list[tuple[float, ...]] = []
    for _ in range(rounds):
        issued = [(await tokens.issue(user)).token for _ in range(count)]
        times = (await by_us(issued), await by_us(issued))
        taken.append((*times, repeated(by_pyjwt), repeated(by_joserfc)))
    return Checks(*(count / statistics.median(each) for each in zip(*taken, strict=True)))


def measured_checks(folder: Path, count: int, rounds: int) -> Checks:
    return asyncio.run(token_checks(folder, count, rounds))
