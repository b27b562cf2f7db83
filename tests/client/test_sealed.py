"""A sealed file reads back whole, or not at all."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from groundswell.client.sealed import SealedWriter, read_sealed
from groundswell.shared.errors import InputError

KEY = bytes(range(32))
FRAMES = [pl.DataFrame({"user": ["a", "b"], "n": [1, i]}) for i in range(3)]


def written(folder: Path, context: str = "store/part-0001") -> Path:
    path = folder / "part"
    with SealedWriter(path, KEY, context) as writer:
        for frame in FRAMES:
            writer.write(frame)
    return path


def blocks(data: bytes) -> list[bytes]:
    parts = []
    while data:
        length = 8 + int.from_bytes(data[:8], "little")
        parts.append(data[:length])
        data = data[length:]
    return parts


def test_frames_read_back(tmp_path: Path) -> None:
    read = list(read_sealed(written(tmp_path), KEY, "store/part-0001"))
    assert all(a.equals(b) for a, b in zip(read, FRAMES, strict=True))


def test_nothing_of_the_content_is_in_the_file(tmp_path: Path) -> None:
    frame = pl.DataFrame({"user": ["jane.doe@shop.example"] * 50})
    path = tmp_path / "part"
    with SealedWriter(path, KEY, "x") as writer:
        writer.write(frame)
    assert b"jane" not in path.read_bytes()
    assert path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("damage", ["cut", "flip", "swap", "drop", "append", "empty"])
def test_a_changed_file_is_refused(tmp_path: Path, damage: str) -> None:
    path = written(tmp_path)
    parts = blocks(path.read_bytes())
    changed = {
        "cut": parts[:-1],
        "flip": [parts[0][:-1] + bytes([parts[0][-1] ^ 1]), *parts[1:]],
        "swap": [parts[1], parts[0], *parts[2:]],
        "drop": [parts[0], *parts[2:]],
        "append": [*parts, parts[0]],
        "empty": [],
    }[damage]
    path.write_bytes(b"".join(changed))
    with pytest.raises(InputError, match="cut off or altered"):
        list(read_sealed(path, KEY, "store/part-0001"))


def test_another_key_or_context_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path)
    for key, context in ((bytes(32), "store/part-0001"), (KEY, "store/part-0002")):
        with pytest.raises(InputError, match="cut off or altered"):
            list(read_sealed(path, key, context))


def test_a_writer_that_failed_leaves_an_unreadable_file(tmp_path: Path) -> None:
    path = tmp_path / "part"
    writer = SealedWriter(path, KEY, "x")
    writer.write(FRAMES[0])
    writer.abandon()
    with pytest.raises(InputError, match="cut off or altered"):
        list(read_sealed(path, KEY, "x"))
