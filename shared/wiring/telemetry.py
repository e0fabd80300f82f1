"""Starts the telemetry of a process, where its settings ask for it."""

from __future__ import annotations

import atexit

from shared.wiring.settings import Settings


def start_telemetry(settings: Settings) -> None:
    """Start to export what ``shared.base.telemetry`` measures; once a process.

    Where it is off, which is the default, nothing of OpenTelemetry's SDK is imported.
    """
    if settings.telemetry == "off":
        return
    from shared.adapters.telemetry import exporters
    from shared.adapters.telemetry.pipeline import Pipeline

    match settings.telemetry:
        case "console":
            chosen = exporters.console()
        case "otlp":
            chosen = exporters.otlp(settings.telemetry_endpoint)
        case "azure-monitor":
            chosen = exporters.azure_monitor()
    resource = {
        "service.name": "strongroom",
        "deployment.environment.name": settings.environment,
    }
    pipeline = Pipeline(chosen, resource, settings.telemetry_trace_ratio)
    pipeline.install()
    atexit.register(pipeline.shut_down)
