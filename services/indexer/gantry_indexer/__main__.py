"""``python -m gantry_indexer consume|worker``."""

from __future__ import annotations

import argparse

from gantry_telemetry.workers import share_metrics


def main() -> None:
    """Run one of the indexer's two processes until it is told to stop."""
    parser = argparse.ArgumentParser(prog="gantry-indexer", description=__doc__)
    parser.add_argument("process", choices=["consume", "worker"])
    process = parser.parse_args().process
    if process == "worker":
        # Before the metrics library is imported: the tasks run in processes of their own.
        share_metrics()
        from gantry_indexer.entrypoints.worker import run
    else:
        from gantry_indexer.entrypoints.consume import run
    from gantry_indexer.settings import IndexerSettings

    run(IndexerSettings())


if __name__ == "__main__":
    main()
