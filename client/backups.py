"""``strongroom backups``: list, show, report and verify backup sets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from client.errors import CommandError, ExitCode
from client.options import Json, Tenant, check_id
from client.output import Output, open_output
from client.units import counted, duration_text, size_text

if TYPE_CHECKING:
    from client.views import Backup, Verification

app = typer.Typer(no_args_is_help=True, help="List and verify backup sets.")

COLUMNS = ("set", "made", "kind", "kept until", "versions", "content", "new")


@app.command("list")
def list_sets(tenant: Tenant = None, as_json: Json = False) -> None:
    """List the backup sets of your tenant, the newest first."""
    from client.api import open_api
    from client.views import Backup

    with open_api() as api:
        sets = list(api.get_all("backups", Backup, **_of(tenant)))
    fields = [each.model_dump(mode="json") for each in sets]
    open_output(as_json=as_json).table("backup", COLUMNS, [_row(each) for each in sets], fields)


@app.command("show")
def show_set(
    set_id: Annotated[str, typer.Argument(metavar="SET", callback=check_id, show_default=False)],
    tenant: Tenant = None,
    as_json: Json = False,
) -> None:
    """Show a backup set."""
    from client.api import open_api
    from client.views import BackupDetails

    with open_api() as api:
        found = api.get(f"backups/{set_id}", BackupDetails, **_of(tenant))
    _print_members(open_output(as_json=as_json), "backup", found.model_dump(mode="json"))


@app.command("report")
def show_report(as_json: Json = False) -> None:
    """Show how good your backups are: recovery point, last verification, last drill."""
    from client.api import open_api
    from client.views import Report

    with open_api() as api:
        found = api.get("backups/report", Report)
    _print_members(open_output(as_json=as_json), "report", found.model_dump(mode="json"))


@app.command("verify")
def verify(
    set_id: Annotated[
        str | None,
        typer.Argument(
            metavar="[SET]", help="By default: all sets.", callback=check_id, show_default=False
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Verify backup sets: signatures, chain, every object's presence and checksum."""
    from client.api import open_api
    from client.views import Verification

    output = open_output(as_json=as_json)
    with open_api() as api:
        started = state = api.post("backups/verifications", Verification, {"set": set_id})
        states = api.poll(
            f"backups/verifications/{started.id}", Verification, lambda each: each.state == "done"
        )
        try:
            with output.progress("Verifying", started.total_objects, "objects") as meter:
                for state in states:
                    meter.update(state.checked_objects, state.total_objects)
        except KeyboardInterrupt:
            raise CommandError(
                "interrupted; the server goes on verifying: strongroom backups report",
                ExitCode.INTERRUPTED,
            ) from None
    _print_findings(output, state)


def _print_findings(output: Output, state: Verification) -> None:
    for each in state.findings:
        text = f"{each.kind}: {each.object}: {each.detail}"
        output.emit("finding", text, **each.model_dump())
    output.emit(
        "summary",
        f"Verified {counted(state.checked_objects, 'object')}, {size_text(state.checked_bytes)}: "
        f"{counted(len(state.findings), 'finding')}.",
        verification=state.id,
        checked_objects=state.checked_objects,
        checked_bytes=state.checked_bytes,
        findings=len(state.findings),
    )
    if state.findings:
        raise CommandError(f"{counted(len(state.findings), 'finding')}; see the list above.")


def _of(tenant: str | None) -> dict[str, str]:
    return {} if tenant is None else {"tenant": tenant}


def _row(each: Backup) -> tuple[str, ...]:
    return (
        each.id,
        each.made_at.isoformat(timespec="seconds"),
        each.kind,
        each.retain_until.date().isoformat(),
        str(each.versions),
        size_text(each.content_bytes),
        size_text(each.new_bytes),
    )


def _print_members(output: Output, kind: str, members: dict[str, Any]) -> None:
    rows = [(name, _text(name, value)) for name, value in members.items()]
    output.table(kind, ("", ""), rows, [members])


def _text(name: str, value: Any) -> str:
    """The value of a member for people."""
    if value is None:
        return "none"
    if name.endswith("_bytes"):
        return size_text(value)
    if name.endswith("_seconds"):
        return duration_text(value)
    if isinstance(value, dict):
        return ", ".join(f"{key} {_text(key, each)}" for key, each in value.items())
    if isinstance(value, list):
        return "; ".join(_text("", each) for each in value) or "none"
    return str(value)
