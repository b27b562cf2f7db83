"""What the registry knows of one model version, and the files behind it.

A version is its *record*: JSON with sorted keys, signed as those exact bytes. The record names
every file by its SHA-256, so the signature covers the whole model.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import fsspec
from fsspec import AbstractFileSystem
from pydantic import BaseModel, ConfigDict, Field

from groundswell.shared.checkpoint import read_manifest
from groundswell.shared.durations import format_duration
from groundswell.shared.errors import InputError, ModelError
from groundswell.shared.questions import ModelVersion, moment
from groundswell.shared.served import privacy_of
from groundswell.shared.task import Task

PURPOSE = "ModelVersion"
MODEL_FILES = (
    "README.md",
    "adapter_config.json",
    "adapter_model.safetensors",
    "head.safetensors",
    "labels.parquet",
    "manifest.json",
    "statistics.safetensors",
)


class Provenance(BaseModel):
    """Where a model comes from.

    Attributes:
        run: id of the run; round: its last closed round.
        plan_hash: SHA-256 (hex) of the plan.
        line: which of a run's models it is where there are several: the name of its catalogue.
        metrics: private validation metrics by name; ``NAME_se`` is the standard error that the
            noise alone gives ``NAME``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    run: str | None = None
    round: int | None = Field(default=None, ge=0)
    plan_hash: str | None = None
    line: str = ""
    metrics: dict[str, float] = {}


class Record(BaseModel):
    """A version, as it is signed."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    schema_version: int = 1
    version: str
    created: datetime
    provenance: Provenance
    model_hash: str
    catalogue_hash: str
    backbone: str
    labels: int
    window: str
    statistics_as_of: int | None
    privacy: dict[str, Any]
    files: dict[str, str]

    def canonical_bytes(self) -> bytes:
        """The bytes that are signed."""
        values = self.model_dump(mode="json")
        return json.dumps(values, sort_keys=True, separators=(",", ":")).encode()

    @classmethod
    def of(cls, version: str, folder: Path, provenance: Provenance, created: datetime) -> Record:
        """The record of a model folder.

        Raises:
            ModelError: the folder holds no whole model.
        """
        manifest = read_manifest(folder)
        try:
            return cls(
                version=version,
                created=created,
                provenance=provenance,
                model_hash=manifest["model_hash"],
                catalogue_hash=manifest["catalogue_hash"],
                backbone=manifest["backbone"],
                labels=len(manifest["catalogue"]["labels"]),
                window=format_duration(Task.model_validate(manifest["task"]).window),
                statistics_as_of=manifest["statistics_as_of"],
                privacy=manifest["privacy"],
                files=file_hashes(folder),
            )
        except (KeyError, ValueError, OSError) as error:
            raise ModelError(f"{folder.name!r} holds no whole model: {error}") from error

    def told(self, aliases: tuple[str, ...], *, signed: bool) -> ModelVersion:
        """What callers are told of it."""
        as_of = self.statistics_as_of
        return ModelVersion(
            version=self.version,
            created=self.created,
            aliases=aliases,
            run=self.provenance.run,
            round=self.provenance.round,
            labels=self.labels,
            window=self.window,
            statistics_as_of=moment(as_of) if as_of is not None else None,
            privacy=privacy_of(self.privacy),
            metrics=self.provenance.metrics,
            hash=self.model_hash,
            signed=signed,
        )


def file_hashes(folder: Path) -> dict[str, str]:
    """SHA-256 (hex) of each model file; raises OSError where one is missing."""
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in MODEL_FILES}


class FileStore:
    """Versions' files under one fsspec URL: a folder, or object storage.

    Args:
        location: a path, or a URL such as ``s3://bucket/models``.
        cache: where files from elsewhere are kept; default: a temporary folder.
    """

    def __init__(self, location: str, cache: Path | None = None) -> None:
        try:
            system, root = fsspec.core.url_to_fs(location)
        except (ValueError, ImportError) as error:
            raise InputError(
                "--files", location, f"can't be used ({error})", "give a folder or an fsspec URL"
            ) from error
        self._system: AbstractFileSystem = system
        self._root = str(root).rstrip("/")
        self._local = "file" in system.protocol
        self._cache = cache or Path(tempfile.gettempdir()) / "groundswell-versions"

    def put(self, version: str, folder: Path) -> None:
        """Copy a model's files in; they are never changed afterwards."""
        target = f"{self._root}/{version}"
        self._system.makedirs(target, exist_ok=True)
        for name in MODEL_FILES:
            self._system.put_file(str(folder / name), f"{target}/{name}")

    def folder(self, record: Record) -> Path:
        """A local folder with the version's files, checked against the record.

        Raises:
            ModelError: a file is missing or was changed.
        """
        source = f"{self._root}/{record.version}"
        if self._local:
            found = Path(source)
        else:
            found = self._cache / _contents(record.files)
            if not found.is_dir():
                self._fetch(source, found)
        try:
            intact = file_hashes(found) == record.files
        except OSError as error:
            raise ModelError(f"version {record.version}: {error.filename} is missing") from error
        if not intact:
            raise ModelError(f"version {record.version}: its files were changed after signing")
        return found

    def _fetch(self, source: str, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as partial:
            try:
                for name in MODEL_FILES:
                    self._system.get_file(f"{source}/{name}", f"{partial}/{name}")
            except FileNotFoundError as error:
                raise ModelError(f"{source}: a file of the version is missing") from error
            whole = Path(partial) / "whole"
            whole.mkdir()
            for name in MODEL_FILES:
                (Path(partial) / name).rename(whole / name)
            if not target.exists():
                shutil.move(whole, target)


def _contents(files: Mapping[str, str]) -> str:
    """A name for exactly these files: two versions may share their weights and differ otherwise."""
    listed = "".join(f"{name}:{digest};" for name, digest in sorted(files.items()))
    return hashlib.sha256(listed.encode()).hexdigest()[:32]
