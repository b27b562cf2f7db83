"""The store: replaced as a whole, unreadable without the key, and able to forget."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from groundswell.client.prepared import ANNOTATED
from groundswell.client.store import Store
from groundswell.shared.errors import InputError
from groundswell.shared.task import Task

KEY = bytes(range(32))
HASH = "0" * 64
TASK = Task()


def part(**events: list[str | None]) -> pl.DataFrame:
    """One event for each text of each user; None is an event of label 0."""
    rows = [
        {
            "user": user,
            "time": i,
            "label": 0 if text is None else -1,
            "weight": 1.0,
            "action": 0,
            "text": text,
            "basket": i,
        }
        for user, texts in sorted(events.items())
        for i, text in enumerate(texts)
    ]
    return pl.DataFrame(rows, schema=ANNOTATED)


def filled(folder: Path) -> Store:
    store = Store(folder, KEY)
    with store.replace(HASH, 2, TASK) as writer:
        writer.write(part(c=[None, "red"], d=["blue"]))
        writer.write(part(a=["red", None]))
    return store


def test_partitions_load_as_one_site_sorted_by_user(tmp_path: Path) -> None:
    site = filled(tmp_path).load()
    assert site.histories.users == ("a", "c", "d")
    assert site.histories.offsets.tolist() == [0, 2, 4, 5]
    assert site.texts == ("blue", "red")
    assert site.histories.token.tolist() == [3, 0, 0, 3, 2]


def test_manifest_says_what_the_store_was_made_for(tmp_path: Path) -> None:
    manifest = filled(tmp_path).manifest()
    assert (manifest.catalogue, manifest.labels, manifest.task) == (HASH, 2, TASK)
    assert (manifest.partitions, manifest.users, manifest.events) == (2, 3, 5)


def test_a_failed_import_leaves_the_old_store(tmp_path: Path) -> None:
    store = filled(tmp_path)
    before = sorted(tmp_path.iterdir())

    def fail() -> None:
        with store.replace(HASH, 2, TASK) as writer:
            writer.write(part(z=["new"]))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert sorted(tmp_path.iterdir()) == before
    assert store.load().histories.users == ("a", "c", "d")


def test_a_new_import_leaves_nothing_of_the_old_one(tmp_path: Path) -> None:
    store = filled(tmp_path)
    with store.replace(HASH, 2, TASK) as writer:
        writer.write(part(z=["new"]))
    assert store.load().histories.users == ("z",)
    assert len([entry for entry in tmp_path.iterdir() if entry.is_dir()]) == 1


def test_files_of_two_imports_cannot_be_mixed(tmp_path: Path) -> None:
    one, two = filled(tmp_path / "1"), filled(tmp_path / "2")
    (first,) = (tmp_path / "1").glob("*/part-0000")
    (second,) = (tmp_path / "2").glob("*/part-0000")
    second.write_bytes(first.read_bytes())
    assert len(one.load().histories) == 3
    with pytest.raises(InputError, match="cut off or altered"):
        two.load()


def test_nothing_readable_lies_on_the_disk(tmp_path: Path) -> None:
    filled(tmp_path)
    for file in tmp_path.rglob("*"):
        if file.is_file():
            assert b"blue" not in file.read_bytes()


def test_another_key_opens_nothing(tmp_path: Path) -> None:
    filled(tmp_path)
    with pytest.raises(InputError, match="site key is another"):
        Store(tmp_path, bytes(32)).load()


def test_without_an_import_there_is_nothing_to_load(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="run the import first"):
        Store(tmp_path, KEY).load()


def test_forgotten_users_leave_and_are_remembered_as_forgotten(tmp_path: Path) -> None:
    store = filled(tmp_path)
    assert store.forget(["c"]) == 2
    assert store.forget(["d", "unknown"]) == 1
    assert store.load().histories.users == ("a",)
    assert store.manifest().users == 1
    assert store.forgotten() == {"c", "d", "unknown"}


def test_an_empty_store_is_an_empty_site(tmp_path: Path) -> None:
    store = Store(tmp_path, KEY)
    with store.replace(HASH, 2, TASK):
        pass
    assert len(store.load().histories) == 0
