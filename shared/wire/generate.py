"""Regenerates the message classes from the ``.proto`` files of this folder: ``make proto``.

The import path of the generated modules is ``groundswell.shared.wire.NAME_pb2``, so the files are
compiled from the repository root, under the path of the package.
"""

from __future__ import annotations

import importlib.resources
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).resolve().parents[2]
FOLDER = "groundswell/shared/wire"


def generate(root: Path = ROOT) -> None:
    """Compile every ``.proto`` file; raises ``RuntimeError`` when the compiler finds a fault."""
    include = importlib.resources.files("grpc_tools") / "_proto"
    sources = sorted(f"{FOLDER}/{path.name}" for path in (root / FOLDER).glob("*.proto"))
    options = [f"--{kind}_out={root}" for kind in ("python", "pyi", "grpc_python")]
    if protoc.main(["protoc", f"-I{root}", f"-I{include}", *options, *sources]) != 0:
        raise RuntimeError("protoc found a fault in the .proto files; its message stands above")


if __name__ == "__main__":
    generate()
