"""``strongroom restore``: plan, start, follow, pause and cancel a restore on the server."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from client.errors import CommandError, ExitCode
from client.options import Json, Tenant, check_id
from client.output import Output, open_output
from client.units import counted, duration_text, size_text

if TYPE_CHECKING:
    from client.api import Api
    from client.views import Restore

PROBLEMS = {
    "damaged": "it is damaged in the backup",
    "missing": "it is missing in the backup",
    "erased": "it was erased since, and stays so",
    "newer": "it was changed since; --overwrite makes a new version of it",
    "conflict": "the service has something else in its place",
}
COLUMNS = ("restore", "set", "state", "documents", "size")


def _id_option(help: str) -> Any:
    return typer.Option(metavar="ID", help=help, callback=check_id, show_default=False)


def restore(
    *,
    set_id: Annotated[
        str | None,
        typer.Option(
            "--set",
            metavar="ID",
            help="From this backup set. By default: the newest.",
            callback=check_id,
            show_default=False,
        ),
    ] = None,
    at: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="As it was then, such as 2026-11-26T14:00Z; local time without an offset.",
            show_default=False,
        ),
    ] = None,
    document: Annotated[str | None, _id_option("Only this document.")] = None,
    version: Annotated[
        int | None, typer.Option(min=1, help="Only this version of it.", show_default=False)
    ] = None,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite",
            help="Documents that were changed since get the content of the set as a new version.",
        ),
    ] = False,
    tenant: Tenant = None,
    into: Annotated[
        str | None, _id_option("For employees: all of it, into another tenant.")
    ] = None,
    plan_only: Annotated[
        bool, typer.Option("--plan-only", help="Plan; `--resume ID` starts it.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Start without asking.")] = False,
    resume: Annotated[
        str | None, _id_option("Start, go on with or follow a restore that was planned before.")
    ] = None,
    pause: Annotated[str | None, _id_option("Pause a restore.")] = None,
    cancel: Annotated[str | None, _id_option("Give a restore up; what was restored stays.")] = None,
    list_only: Annotated[bool, typer.Option("--list", help="List the restores.")] = False,
    as_json: Json = False,
) -> None:
    """Restore documents from a backup set: show a plan, ask, start, and follow.

    The restore runs on the server. Ctrl-C ends following, not the restore.
    """
    modes = [name for name in (resume, pause, cancel) if name is not None]
    what = (set_id, at, document, version, tenant, into)
    if len(modes) + list_only > 1 or (
        (modes or list_only) and (overwrite or plan_only or any(each is not None for each in what))
    ):
        raise typer.BadParameter("--resume, --pause, --cancel and --list each stand alone")
    if version is not None and document is None:
        raise typer.BadParameter("--version needs --document")
    asks = not (modes or list_only or plan_only or yes)
    if asks and not (sys.stdin.isatty() and not as_json):
        raise typer.BadParameter("nobody can be asked here: say --yes or --plan-only")
    moment = None if at is None else _moment(at)

    from client.api import open_api

    with open_api() as api:
        restoring = Restoring(api, open_output(as_json=as_json))
        if list_only:
            restoring.list()
        elif pause is not None:
            restoring.pause(pause)
        elif cancel is not None:
            restoring.cancel(cancel)
        elif resume is not None:
            restoring.resume(resume)
        else:
            wanted = {
                "set": set_id,
                "at": moment,
                "document": document,
                "version": version,
                "tenant": tenant,
                "into": into,
            }
            given = {name: value for name, value in wanted.items() if value is not None}
            planned = restoring.plan(given | {"overwrite": overwrite})
            if plan_only:
                restoring.say_how_to_go_on(planned)
            elif yes or _confirmed():
                restoring.start(planned)
            else:
                restoring.cancel(planned.id)


class Restoring:
    """Talks to the server about restores.

    Args:
        api: The server.
        output: Where to print.
    """

    def __init__(self, api: Api, output: Output) -> None:
        self._api = api
        self._output = output

    def list(self) -> None:
        """List the restores."""
        from client.views import Restore

        found = list(self._api.get_all("restores", Restore))
        rows = [
            (each.id, each.set, each.state, str(each.plan.documents), size_text(each.plan.bytes))
            for each in found
        ]
        fields = [each.model_dump(mode="json") for each in found]
        self._output.table("restore", COLUMNS, rows, fields)

    def plan(self, request: Mapping[str, object]) -> Restore:
        """Have a restore planned, and print the plan."""
        from client.views import Restore

        planned = self._api.post("restores", Restore, request)
        plan = planned.plan
        about = "" if plan.exact else "at most "
        moment = planned.point_in_time.isoformat(timespec="seconds")
        text = (
            f"{planned.id}: as of {moment} ({planned.set}): "
            f"{about}{counted(plan.versions, 'version')} of {counted(plan.documents, 'document')}, "
            f"{size_text(plan.bytes)}, {duration_text(plan.expected_seconds)}"
        )
        if plan.skipped_newer:
            text += f"; {counted(plan.skipped_newer, 'document')} changed since, left as they are"
        if plan.erased:
            text += f"; {counted(plan.erased, 'document')} erased since, not brought back"
        self._output.emit("plan", text + ".", id=planned.id, set=planned.set, **plan.model_dump())
        return planned

    def say_how_to_go_on(self, planned: Restore) -> None:
        """Say how a plan is started."""
        self._output.emit(
            "next", f"Start it with: strongroom restore --resume {planned.id}", id=planned.id
        )

    def start(self, restore: Restore) -> None:
        """Start or go on, and follow to the end."""
        from client.views import Restore

        started = self._api.post(f"restores/{restore.id}/start", Restore, {})
        self._follow(started)

    def resume(self, id: str) -> None:
        """Start, go on with or follow a restore, whichever its state asks for."""
        from client.views import Restore

        found = self._api.get(f"restores/{id}", Restore)
        if found.state in ("planned", "paused"):
            self.start(found)
        else:
            self._follow(found)

    def pause(self, id: str) -> None:
        """Pause a restore."""
        from client.views import Restore

        paused = self._api.post(f"restores/{id}/pause", Restore, {})
        self._output.emit(
            "paused",
            f"{id} is {paused.state}; go on with: strongroom restore --resume {id}",
            id=id,
            state=paused.state,
        )

    def cancel(self, id: str) -> None:
        """Give a restore up."""
        self._api.delete(f"restores/{id}")
        self._output.emit("cancelled", f"{id} is cancelled; what was restored stays.", id=id)

    def _follow(self, restore: Restore) -> None:
        from client.views import Restore

        states = self._api.poll(
            f"restores/{restore.id}", Restore, lambda each: each.state != "running"
        )
        state = restore
        try:
            with self._output.progress("Restoring", restore.plan.bytes, "bytes") as meter:
                for state in states:
                    meter.update(state.progress.bytes, state.plan.bytes)
        except KeyboardInterrupt:
            raise CommandError(
                f"no longer following; the server goes on restoring. To follow again: "
                f"strongroom restore --resume {restore.id}",
                ExitCode.INTERRUPTED,
            ) from None
        self._finish(state)

    def _finish(self, restore: Restore) -> None:
        for each in restore.problems:
            what = each.document or "another record"
            version = f", version {each.version}" if each.version else ""
            reason = PROBLEMS.get(each.problem, each.problem)
            text = f"not restored: {what}{version}: {reason}"
            self._output.emit("problem", text, **each.model_dump())
        progress = restore.progress
        self._output.emit(
            "summary",
            f"{restore.id} is {restore.state}: {counted(progress.restored, 'document')} of "
            f"{progress.documents:,} restored, {counted(progress.versions, 'version')}, "
            f"{size_text(progress.bytes)}.",
            id=restore.id,
            state=restore.state,
            problems=restore.problem_count,
            **progress.model_dump(),
        )
        if restore.state == "paused":
            raise CommandError(
                f"{restore.id} was paused; go on with: strongroom restore --resume {restore.id}"
            )
        if restore.state != "done":
            raise CommandError(f"{restore.id} was {restore.state}.")
        if restore.problem_count:
            raise CommandError(f"{counted(restore.problem_count, 'problem')}; see the list above.")


def _confirmed() -> bool:
    """Whether the answer is yes; Ctrl-C is no."""
    try:
        return typer.confirm("Start?")
    except typer.Abort:
        return False


def _moment(text: str) -> str:
    """A time, with its offset.

    Raises:
        BadParameter: It is not a time.
    """
    try:
        return datetime.fromisoformat(text).astimezone().isoformat()
    except ValueError:
        raise typer.BadParameter("this is not a time such as 2026-11-26T14:00Z") from None
