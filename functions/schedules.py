"""The timers. Their schedules are app settings."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import wraps

import azure.functions as func

from functions.services import ready_services

blueprint = func.Blueprint()

Timer = Callable[[func.TimerRequest], Awaitable[None]]


def measured(function: Timer) -> Timer:
    """Measure each run of a timer, in a trace of its own."""

    @wraps(function)
    async def run(timer: func.TimerRequest) -> None:
        await ready_services()  # which starts the telemetry
        from shared.base import telemetry  # not needed to be indexed

        with telemetry.timer_run(function.__name__):
            await function(timer)

    return run


@blueprint.function_name("outbox_relay")
@blueprint.timer_trigger(arg_name="timer", schedule="%STRONGROOM_OUTBOX_RELAY_SCHEDULE%")
@measured
async def outbox_relay(timer: func.TimerRequest) -> None:
    """Publish events that were committed and not published."""
    await (await ready_services()).outbox.relay()


@blueprint.function_name("upload_sweep")
@blueprint.timer_trigger(arg_name="timer", schedule="%STRONGROOM_UPLOAD_SWEEP_SCHEDULE%")
@measured
async def upload_sweep(timer: func.TimerRequest) -> None:
    """Remove what was begun and not finished."""
    await (await ready_services()).sweep.run()


@blueprint.function_name("trash")
@blueprint.timer_trigger(arg_name="timer", schedule="%STRONGROOM_TRASH_SCHEDULE%")
@measured
async def trash(timer: func.TimerRequest) -> None:
    """Erase the documents whose time in the trash is over."""
    await (await ready_services()).trash.empty()


@blueprint.function_name("target_copies")
@blueprint.timer_trigger(arg_name="timer", schedule="%STRONGROOM_TARGET_COPIES_SCHEDULE%")
@measured
async def target_copies(timer: func.TimerRequest) -> None:
    """Copy to targets what waits for them, and erase there what was erased."""
    await (await ready_services()).target_timer.run()


@blueprint.function_name("token_key_rotation")
@blueprint.timer_trigger(arg_name="timer", schedule="%STRONGROOM_TOKEN_KEY_ROTATION_SCHEDULE%")
@measured
async def token_key_rotation(timer: func.TimerRequest) -> None:
    """Give the token key ring a new key."""
    await (await ready_services()).tokens.rotate()


@blueprint.function_name("tenant_key_rotation")
@blueprint.timer_trigger(arg_name="timer", schedule="%STRONGROOM_TENANT_KEY_ROTATION_SCHEDULE%")
@measured
async def tenant_key_rotation(timer: func.TimerRequest) -> None:
    """Rotate the keys of tenants that are due, and finish rotations that were begun."""
    await (await ready_services()).key_rotation.run()


@blueprint.function_name("audit_checkpoint")
@blueprint.timer_trigger(arg_name="timer", schedule="%STRONGROOM_AUDIT_CHECKPOINT_SCHEDULE%")
@measured
async def audit_checkpoint(timer: func.TimerRequest) -> None:
    """Put what was appended to the audit logs into tiles, and sign it."""
    await (await ready_services()).audit.checkpoints.run()


@blueprint.function_name("audit_key_rotation")
@blueprint.timer_trigger(arg_name="timer", schedule="%STRONGROOM_AUDIT_KEY_ROTATION_SCHEDULE%")
@measured
async def audit_key_rotation(timer: func.TimerRequest) -> None:
    """Rotate the keys that sign checkpoints, if they are due."""
    await (await ready_services()).audit.keys.rotate()


@blueprint.function_name("audit_attestation")
@blueprint.timer_trigger(arg_name="timer", schedule="%STRONGROOM_AUDIT_ATTESTATION_SCHEDULE%")
@measured
async def audit_attestation(timer: func.TimerRequest) -> None:
    """Have checkpoints cosigned by witnesses and stamped with the time, where the operator names some."""
    await (await ready_services()).attestations.run()


@blueprint.function_name("webhooks")
@blueprint.timer_trigger(arg_name="timer", schedule="%STRONGROOM_WEBHOOKS_SCHEDULE%")
@measured
async def webhooks(timer: func.TimerRequest) -> None:
    """Push what is new in the audit logs to the collectors of tenants."""
    await (await ready_services()).webhooks.timer.run()


@blueprint.function_name("audit_monitor")
@blueprint.timer_trigger(arg_name="timer", schedule="%STRONGROOM_AUDIT_MONITOR_SCHEDULE%")
@measured
async def audit_monitor(timer: func.TimerRequest) -> None:
    """Compare the audit logs with all that the service has of them; raise alerts."""
    await (await ready_services()).audit.monitor.run()


@blueprint.function_name("grant_expiry")
@blueprint.timer_trigger(arg_name="timer", schedule="%STRONGROOM_GRANT_EXPIRY_SCHEDULE%")
@measured
async def grant_expiry(timer: func.TimerRequest) -> None:
    """Say in the audit logs which staff grants are over."""
    await (await ready_services()).grants.timer.run()


@blueprint.function_name("access_reviews")
@blueprint.timer_trigger(arg_name="timer", schedule="%STRONGROOM_ACCESS_REVIEWS_SCHEDULE%")
@measured
async def access_reviews(timer: func.TimerRequest) -> None:
    """Open the access reviews that are due; suspend and revoke what nobody confirmed."""
    await (await ready_services()).reviews.timer.run()


@blueprint.function_name("backup")
@blueprint.timer_trigger(arg_name="timer", schedule="%STRONGROOM_BACKUP_SCHEDULE%")
@measured
async def backup(timer: func.TimerRequest) -> None:
    """Make the backup sets that are due, and remove those whose date has come."""
    await (await ready_services()).backups.timer.run()


@blueprint.function_name("backup_verification")
@blueprint.timer_trigger(arg_name="timer", schedule="%STRONGROOM_BACKUP_VERIFICATION_SCHEDULE%")
@measured
async def backup_verification(timer: func.TimerRequest) -> None:
    """Check a part of what the backups and the stores hold, and repair what is found."""
    await (await ready_services()).backups.verifications.run()


@blueprint.function_name("restore")
@blueprint.timer_trigger(arg_name="timer", schedule="%STRONGROOM_RESTORE_SCHEDULE%")
@measured
async def restore(timer: func.TimerRequest) -> None:
    """Work on the restores that were started."""
    await (await ready_services()).backups.restore_timer.run()


@blueprint.function_name("restore_drill")
@blueprint.timer_trigger(arg_name="timer", schedule="%STRONGROOM_RESTORE_DRILL_SCHEDULE%")
@measured
async def restore_drill(timer: func.TimerRequest) -> None:
    """Restore into scratch space what is due for a drill, and compare it."""
    await (await ready_services()).backups.drills.run()
