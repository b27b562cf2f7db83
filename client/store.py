"""The prepared store of a site: encrypted partitions, replaced as a whole or not at all.

Layout of the folder::

    current            name of the generation in use; replaced atomically, last of all
    GENERATION/        a random name
        manifest       sealed: what the store was made for (``StoreManifest``)
        part-0000 ...  sealed: annotated events, users of a partition in order of pseudonym
    forgotten          sealed: pseudonyms that must never come back

Partitions are sealed under the generation's name, so files of two imports can't be mixed.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl
from pydantic import BaseModel, ConfigDict

from groundswell.client.prepared import PreparedSite, assemble, split_users
from groundswell.client.sealed import SealedWriter, read_sealed
from groundswell.shared.errors import InputError
from groundswell.shared.task import Task

__all__ = ["PreparedSite", "Store", "StoreManifest", "StoreWriter"]

_CURRENT = "current"
_MANIFEST = "manifest"
_FORGOTTEN = "forgotten"


class StoreManifest(BaseModel):
    """What a store was made for, and how large it is.

    Attributes:
        catalogue: hash of the catalogue.
        labels: number of its labels.
        task: the task.
        partitions, users, events: what the store holds.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    catalogue: str
    labels: int
    task: Task
    partitions: int
    users: int
    events: int


class StoreWriter:
    """Writes one generation; ``Store.replace`` hands it out."""

    def __init__(self, folder: Path, key: bytes) -> None:
        self._folder = folder
        self._key = key
        self.partitions = 0
        self.users = 0
        self.events = 0

    def write(self, annotated: pl.DataFrame) -> None:
        """Seal one partition: columns ``ANNOTATED``, sorted by user and time.

        No user may stand in two partitions.
        """
        path = self._folder / _part(self.partitions)
        write_partition(path, self._key, self._folder.name, annotated)
        self.partitions += 1
        self.users += annotated["user"].n_unique()
        self.events += len(annotated)


class Store:
    """One site's prepared store in ``folder``, under a 32-byte ``key``."""

    def __init__(self, folder: Path, key: bytes) -> None:
        self.folder = folder
        self._key = key

    @contextmanager
    def replace(self, catalogue: str, labels: int, task: Task) -> Iterator[StoreWriter]:
        """Write a new generation; it takes the old one's place when the block ends without error.

        Args:
            catalogue: hash of the catalogue that the labels were taken from.
            labels: number of its labels.
            task: the task that the events were annotated for.
        """
        generation = self.folder / secrets.token_hex(16)
        generation.mkdir(parents=True, mode=0o700)
        writer = StoreWriter(generation, self._key)
        complete = False
        try:
            yield writer
            manifest = StoreManifest(
                catalogue=catalogue,
                labels=labels,
                task=task,
                partitions=writer.partitions,
                users=writer.users,
                events=writer.events,
            )
            self._seal_manifest(generation, manifest)
            _write_text(self.folder / _CURRENT, generation.name)
            complete = True
        finally:
            if not complete:
                shutil.rmtree(generation, ignore_errors=True)
        for other in self.folder.iterdir():
            if other.is_dir() and other != generation:
                shutil.rmtree(other)

    def manifest(self) -> StoreManifest:
        """What the store was made for; raises InputError where there is none."""
        return self._manifest(self._generation())

    def load(self) -> PreparedSite:
        """All histories in memory, users sorted by pseudonym.

        Raises:
            InputError: there is no store, or it is damaged, altered or under another key.
        """
        generation = self._generation()
        manifest = self._manifest(generation)
        frames = [
            _read(generation / _part(number), self._key, generation.name)
            for number in range(manifest.partitions)
        ]
        return assemble(
            [users for users, _ in frames], [events for _, events in frames], manifest.labels
        )

    def partitions(self) -> Iterator[pl.DataFrame]:
        """The annotated events (columns ``ANNOTATED``), a partition at a time."""
        generation = self._generation()
        for number in range(self._manifest(generation).partitions):
            yield read_partition(generation / _part(number), self._key, generation.name)

    def forgotten(self) -> frozenset[str]:
        """Pseudonyms that an import leaves out."""
        path = self.folder / _FORGOTTEN
        if not path.exists():
            return frozenset()
        frames = list(read_sealed(path, self._key, _FORGOTTEN))
        return frozenset(name for frame in frames for name in frame["user"])

    def forget(self, pseudonyms: Iterable[str]) -> int:
        """Take users out of the store, now and in every later import; returns the events removed.

        The list is written first: a crash in between leaves the users in the store but on the
        list, and the next call or import finishes the work. Without a store it is all there is.
        """
        names = self.forgotten() | frozenset(pseudonyms)
        self._write_forgotten(names)
        if not (self.folder / _CURRENT).exists():
            return 0
        generation = self._generation()
        manifest = self._manifest(generation)
        removed = users = 0
        listed = pl.Series(sorted(names), dtype=pl.String).implode()
        for number in range(manifest.partitions):
            path = generation / _part(number)
            frame = read_partition(path, self._key, generation.name)
            kept = frame.filter(~pl.col("user").is_in(listed))
            users += kept["user"].n_unique()
            if len(kept) < len(frame):
                removed += len(frame) - len(kept)
                write_partition(path, self._key, generation.name, kept)
        smaller = {"users": users, "events": manifest.events - removed}
        self._seal_manifest(generation, manifest.model_copy(update=smaller))
        return removed

    def _generation(self) -> Path:
        try:
            return self.folder / (self.folder / _CURRENT).read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(
                "store", str(self.folder), "there is no prepared store", "run the import first"
            ) from error

    def _manifest(self, generation: Path) -> StoreManifest:
        frames = list(read_sealed(generation / _MANIFEST, self._key, generation.name))
        return StoreManifest.model_validate_json(frames[0]["manifest"][0])

    def _seal_manifest(self, generation: Path, manifest: StoreManifest) -> None:
        frame = pl.DataFrame({"manifest": [manifest.model_dump_json()]})
        _seal(generation / _MANIFEST, self._key, generation.name, [frame])

    def _write_forgotten(self, names: frozenset[str]) -> None:
        frame = pl.DataFrame({"user": sorted(names)}, schema={"user": pl.String})
        _seal(self.folder / _FORGOTTEN, self._key, _FORGOTTEN, [frame])


def write_partition(path: Path, key: bytes, generation: str, annotated: pl.DataFrame) -> None:
    """Seal one partition as two frames: users with their numbers of events, and the events."""
    _seal(path, key, f"{generation}/{path.name}", split_users(annotated))


def read_partition(path: Path, key: bytes, generation: str) -> pl.DataFrame:
    """The inverse of ``write_partition``."""
    users, events = _read(path, key, generation)
    repeated = users.select(pl.col("user").repeat_by("events").explode())
    return events.select(repeated["user"], pl.all())


def _read(path: Path, key: bytes, generation: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    users, events = read_sealed(path, key, f"{generation}/{path.name}")
    return users, events


def _seal(path: Path, key: bytes, context: str, frames: Iterable[pl.DataFrame]) -> None:
    """Write the file beside its place, then put it there."""
    beside = path.with_name(f".{path.name}.new")
    with SealedWriter(beside, key, context) as writer:
        for frame in frames:
            writer.write(frame)
    beside.replace(path)


def _write_text(path: Path, text: str) -> None:
    beside = path.with_name(f".{path.name}.new")
    with beside.open("w", encoding="ascii") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


def _part(number: int) -> str:
    return f"part-{number:04d}"
