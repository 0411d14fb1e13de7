"""Generate libs/contracts from proto/: run after every change of a .proto file.

Usage: python tools/generate_contracts.py [--check]   (--check fails when files would change)
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "libs" / "contracts"


def generate(target: Path) -> None:
    """Write the Python modules and type stubs of every .proto file under ``target``."""
    sources = sorted(str(path.relative_to(ROOT / "proto")) for path in (ROOT / "proto").rglob("*.proto"))
    arguments = ["protoc", f"-I{ROOT / 'proto'}", f"--python_out={target}", f"--pyi_out={target}", *sources]
    if protoc.main(arguments) != 0:
        raise SystemExit("protoc failed")
    for folder in {target / Path(source).parent for source in sources}:
        while folder != target:
            (folder / "__init__.py").write_text('"""Generated from proto/; do not edit."""\n')
            folder = folder.parent
    (target / "gantry" / "py.typed").touch()


def main() -> None:
    """Generate in place, or compare a fresh generation with what is committed."""
    if "--check" not in sys.argv:
        generate(TARGET)
        return
    with tempfile.TemporaryDirectory() as fresh:
        generate(Path(fresh))
        stale = [
            str(path.relative_to(fresh))
            for path in Path(fresh).rglob("*.py*")
            if not (TARGET / path.relative_to(fresh)).is_file()
            or path.read_bytes() != (TARGET / path.relative_to(fresh)).read_bytes()
        ]
    if stale:
        raise SystemExit(
            f"generated code is out of date: {', '.join(stale)}; run tools/generate_contracts.py"
        )


if __name__ == "__main__":
    main()
