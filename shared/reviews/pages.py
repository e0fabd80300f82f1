"""The report of a review as text, for people: what becomes the PDF."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from shared.reviews.pdf import pdf


def report_pdf(report: bytes, sha256: str, key_version: str) -> bytes:
    """A report as PDF. The JSON is what is signed; this names it by its digest.

    Args:
        report: The JSON.
        sha256: Of it, in hex.
        key_version: Of the key that signed it.
    """
    document = json.loads(report)
    return pdf(f"Access review {document['review']}", list(_lines(document, sha256, key_version)))


def _lines(document: dict[str, Any], sha256: str, key_version: str) -> Iterator[str]:
    period, counts = document["period"], document["counts"]
    yield f"Access review {document['review']} ({document['kind']})"
    yield ""
    yield f"Tenant: {document['tenant']}"
    yield f"Environment: {document['environment']}"
    yield f"Opened: {period['to']} by {document['opened_by'] or 'the timer'}"
    yield f"Period: from {period['from']}"
    yield f"To be decided by: {document['decide_by']}; undecided items end at {document['lapse_at']}"
    yield f"Finished: {document['finished_at']}"
    yield f"SHA-256 of the signed JSON: {sha256}"
    yield f"Signed by the key version: {key_version}"
    yield ""
    yield ", ".join(f"{name}: {number}" for name, number in counts.items())
    for item in document["items"]:
        yield ""
        what = f"role {item['role']}" if item["role"] else f"grant {item['grant']}"
        what += f" for {item['tenant']}" if item["tenant"] else ""
        unapproved = ", which nobody had approved" if item["break_glass"] else ""
        yield f"{item['username'] or 'unknown'} ({item['user']}): {what}{unapproved}"
        used = item["last_used_at"] or "never"
        yield f"    since {item['since']}, last used {used}, proposed: {item['proposal']}"
        decision = item["decision"]
        if decision is None:
            at = f" at {item['settled_at']}" if item["settled_at"] else ""
            yield f"    {item['state']}{at}"
        else:
            yield f"    {decision['choice']} by {decision['by']} at {decision['at']}"
            for line in decision["reason"].splitlines():
                yield f"    {line}"
