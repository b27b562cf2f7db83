"""The registry and the tokens on PostgreSQL: Debian's server, in a folder of its own."""

from __future__ import annotations

import getpass
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

from groundswell.server.registry import Registry
from groundswell.server.tokens import Scope, Tokens
from groundswell.server.versions import Provenance
from groundswell.shared.errors import InputError, Refusal
from groundswell.shared.identity import SigningKey
from groundswell.shared.questions import utc_now

PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin"))

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PROGRAMS, reason="apt-get install postgresql"),
]


def as_owner(command: Sequence[str]) -> None:
    """PostgreSQL refuses to run as root."""
    if os.geteuid() == 0:
        command = ["runuser", "-u", "postgres", "--", *command]
    subprocess.run(command, check=True, capture_output=True, timeout=60)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A fresh server that listens on a socket alone."""
    folder = Path(tempfile.mkdtemp(prefix="pg", dir="/tmp"))
    programs, data = PROGRAMS[-1], folder / "data"
    user = "postgres" if os.geteuid() == 0 else getpass.getuser()
    try:
        if os.geteuid() == 0:
            shutil.chown(folder, "postgres")
        as_owner([str(programs / "initdb"), "-D", str(data), "-A", "trust", "-U", user])
        options = f"-c listen_addresses= -k {folder}"
        start = ["-D", str(data), "-l", str(folder / "log"), "-o", options, "-w", "start"]
        as_owner([str(programs / "pg_ctl"), *start])
        yield f"postgresql+psycopg://{user}@/postgres?host={folder}"
        as_owner([str(programs / "pg_ctl"), "-D", str(data), "-m", "immediate", "stop"])
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def registry(url: str, tmp_path_factory: pytest.TempPathFactory) -> Registry:
    folder = tmp_path_factory.mktemp("postgres")
    SigningKey.generate().write(folder / "key")
    return Registry.open(url, files=str(folder / "versions"), key=folder / "key")


def test_versions_aliases_and_roll_back(
    registry: Registry, make_model: Callable[[Path, float], Path], tmp_path: Path
) -> None:
    models = [make_model(tmp_path / str(i), 0.1 * i) for i in (1, 2, 3)]
    assert registry.add(models[0], Provenance()).version == "v1"
    assert registry.add(models[0], Provenance()).version == "v1"
    assert registry.add(models[1], Provenance()).version == "v2"
    registry.promote("latest")
    assert registry.champion() == "v2"
    assert (registry.folder("champion") / "manifest.json").exists()
    assert registry.rollback().version == "v1"
    with pytest.raises(Refusal, match="before this one"):
        registry.rollback()


def test_versions_added_at_once_get_numbers_of_their_own(
    registry: Registry, make_model: Callable[[Path, float], Path], tmp_path: Path
) -> None:
    models = [make_model(tmp_path / str(i), 0.31 + i / 100) for i in range(4)]
    with ThreadPoolExecutor(4) as pool:
        added = list(pool.map(lambda model: registry.add(model, Provenance()).version, models))
    assert len(set(added)) == 4


def test_tokens(url: str, registry: Registry) -> None:
    tokens = Tokens(registry.engine)
    token = tokens.create("shop", [Scope.PREDICT], timedelta(days=1), 5, utc_now())
    caller = tokens.check(f"Bearer {token}", utc_now(), 0.0)
    assert caller.scopes == {Scope.PREDICT}
    tokens.revoke(caller.id, utc_now())
    with pytest.raises(Refusal):
        tokens.check(f"Bearer {token}", utc_now(), 100.0)


def test_a_server_that_is_not_there_is_told_without_the_password() -> None:
    with pytest.raises(InputError) as caught:
        Registry.open(
            "postgresql+psycopg://u:hunter2@127.0.0.1:9/x", files="/tmp", public_key=bytes(32)
        )
    assert "hunter2" not in str(caught.value)
