"""Audit an archive from the command line.

``--sent`` is a file of JSON lines with the fields of ``SentInstance``; without it only what
needs no sender's word is checked. Prints a JSON line a finding; exits with 1 if there is one.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path

from gantry_objectstore.settings import StoreSettings

from gantry_testing.auditor import Answer, SentInstance, Target, audit_now


def read_sent(file: Path) -> list[SentInstance]:
    """Return what ``file`` says was sent. Raises ``ValueError``, ``TypeError`` for what it cannot read."""
    records = [json.loads(line) for line in file.read_text().splitlines() if line.strip()]
    return [SentInstance(**record | {"answer": Answer(record["answer"])}) for record in records]


def main(arguments: list[str] | None = None) -> int:
    """Run the audit and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m gantry_testing.auditor", description=__doc__)
    environment = os.environ.get
    parser.add_argument("--sent", type=Path)
    parser.add_argument("--store-url", default=environment("GANTRY_STORE_URL"))
    parser.add_argument("--index-dsn", default=environment("GANTRY_INDEX_DSN"))
    parser.add_argument("--gateway-url", default=environment("GANTRY_GATEWAY_URL"), help="without /dicom-web")
    parser.add_argument(
        "--older-than", type=float, default=86400, help="seconds after which an orphan counts"
    )
    options = parser.parse_args(arguments)
    # The keys come from the environment only: an argument would show in the process list.
    seal_keys = environment("GANTRY_SEAL_KEYS")
    if not (options.store_url and options.index_dsn and seal_keys):
        parser.error("GANTRY_STORE_URL, GANTRY_INDEX_DSN and GANTRY_SEAL_KEYS (or the options) are needed")
    target = Target(
        store_url=options.store_url,
        seal_keys=seal_keys,
        index_dsn=options.index_dsn,
        gateway_url=options.gateway_url,
        store_settings=StoreSettings.from_environment(),
    )
    sent = read_sent(options.sent) if options.sent else []
    report = audit_now(sent, target, orphan_age=timedelta(seconds=options.older_than))
    for finding in report.findings:
        sys.stdout.write(json.dumps(asdict(finding)) + "\n")
    sys.stderr.write(json.dumps(report.counts | {"findings": len(report.findings)}) + "\n")
    return 1 if report.findings else 0


if __name__ == "__main__":
    sys.exit(main())
