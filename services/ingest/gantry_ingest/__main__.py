"""Run ingest: ``python -m gantry_ingest`` (``work`` is what it starts itself), or its router: ``route``."""

from __future__ import annotations

import sys

from gantry_telemetry.workers import share_metrics


def main() -> None:
    """Run the listener, or one of its workers."""
    share_metrics()
    # After share_metrics: the metrics library reads its setting when it is imported.
    from gantry_ingest.settings import IngestSettings

    settings = IngestSettings()
    if sys.argv[1:2] == ["work"]:
        from gantry_ingest.entrypoints.worker import work

        work(settings, *(int(argument) for argument in sys.argv[2:6]))
        return
    if sys.argv[1:2] == ["route"]:
        from gantry_ingest.entrypoints.route import run

        run(settings)
        return
    from gantry_ingest.entrypoints.listener import listen

    listen(settings)


if __name__ == "__main__":
    main()
