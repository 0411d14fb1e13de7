"""Run the gateway: ``python -m gantry_gateway``."""

from __future__ import annotations

from gantry_telemetry.workers import share_metrics


def main() -> None:
    """Serve DICOMweb until SIGTERM or SIGINT."""
    share_metrics()
    # After share_metrics: the metrics library reads its setting when it is imported.
    from gantry_web.serve import serve

    from gantry_gateway.settings import GatewaySettings

    settings = GatewaySettings()
    serve(
        "gantry_gateway.app:create_app",
        host=settings.http_host,
        port=settings.http_port,
        workers=settings.http_workers,
    )


if __name__ == "__main__":
    main()
