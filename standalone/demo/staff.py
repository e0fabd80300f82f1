"""The demo's stage about staff: no employee sees a document without a grant, nor after its end."""

from __future__ import annotations

import hashlib

from standalone.demo.client import Client, bearer
from standalone.demo.contents import Content
from standalone.demo.report import check, stage, wait_until

STEPS = {"grant.request", "grant.approve", "document.open", "grant.revoke"}


def show_a_grant(
    client: Client, operator: str, tenant: tuple[str, str], document: str, content: Content
) -> None:
    """An employee asks, another one approves, the tenant sees all of it and ends it.

    Args:
        client: Of the API.
        operator: The token of an operator.
        tenant: The tenant's id, and the token of its administrator.
        document: Of the tenant.
        content: What the document holds.
    """
    with stage("Let an employee look, for one case, and end it") as done:
        added = client.post("users", operator, {"username": "helper", "roles": ["support"]})
        helper = client.sign_in("operator", "helper", added["temporary_password"])
        asked = client.post(
            "staff-grants",
            helper,
            {
                "tenant": tenant[0],
                "case": {"system": "desk", "id": "4711"},
                "reason": "customer-initiated",
                "text": "The customer cannot open the document and asks us to look.",
                "scope": {"depth": "content", "documents": [document]},
                "seconds": 3_600,
            },
        )
        grant = asked["id"]
        path = f"staff-grants/{grant}/documents/{document}/content"

        def status() -> int:
            return client.http.get(path, headers=bearer(helper)).status_code

        check(status() == 403, "nobody has approved it, and nothing is shown")
        client.post(f"staff-grants/{grant}/approve", operator, None)
        digest = hashlib.sha256()
        with client.http.stream("GET", path, headers=bearer(helper)) as answer:
            for chunk in answer.iter_bytes():
                digest.update(chunk)
        check(digest.digest() == content.sha256, "under the grant the content is shown")
        ended = client.http.delete(f"grants/{grant}", headers=bearer(tenant[1]))
        check(ended.is_success, "the tenant ends the grant")
        check(status() == 403, "after its end nothing is shown")

        def told() -> bool:
            items = client.get(f"audit?limit=100&grant={grant}", tenant[1])["items"]
            return {item["entry"]["action"] for item in items} >= STEPS

        wait_until(told, "each step to be in the tenant's log")
        done(f"refused, approved, shown, ended; {grant} is in the tenant's log")
