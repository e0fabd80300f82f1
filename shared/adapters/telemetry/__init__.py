"""OpenTelemetry's SDK and its exporters: imported only where telemetry is on."""
