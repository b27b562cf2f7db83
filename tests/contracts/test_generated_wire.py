"""The generated message classes are those of the ``.proto`` files."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from groundswell.shared.wire.generate import FOLDER, ROOT, generate

NAMES = sorted(path.stem for path in (ROOT / FOLDER).glob("*.proto"))


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("wire")
    (root / FOLDER).mkdir(parents=True)
    for name in NAMES:
        shutil.copy(ROOT / FOLDER / f"{name}.proto", root / FOLDER)
    generate(root)
    return root / FOLDER


@pytest.mark.parametrize("name", NAMES)
def test_generated_code_is_up_to_date(generated: Path, name: str) -> None:
    for suffix in ("_pb2.py", "_pb2.pyi", "_pb2_grpc.py"):
        fresh = (generated / f"{name}{suffix}").read_text()
        assert (ROOT / FOLDER / f"{name}{suffix}").read_text() == fresh, "run `make proto`"
