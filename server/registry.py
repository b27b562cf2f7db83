"""The model registry: immutable, signed versions, and which of them answers.

*latest* is the newest version, *champion* the one that answers by default. The first version
becomes champion at once; later ones are promoted, past a quality gate, and can be rolled back.

Runs over several catalogues leave a *line* of versions for each, with a champion of its own:
*latest@NAME* and *champion@NAME*. Without a name the aliases are those of the line without one, or
of the only line that there is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pydantic import ValidationError
from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    DateTime,
    Engine,
    Integer,
    LargeBinary,
    String,
    Table,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError

from groundswell.server.database import METADATA, open_database
from groundswell.server.tokens import naive
from groundswell.server.versions import PURPOSE, FileStore, Provenance, Record
from groundswell.shared.envelopes import verify
from groundswell.shared.errors import InputError, ModelError, Refusal
from groundswell.shared.identity import SigningKey
from groundswell.shared.questions import ModelsAnswer, ModelVersion, utc_now

LATEST, CHAMPION = "latest", "champion"
GATE_METRIC = "ndcg@10"
GATE_ERRORS = 3.0  # a fall of more standard errors than this closes the gate
_TRIES = 5

_VERSIONS = Table(
    "versions",
    METADATA,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("model_hash", String(64), nullable=False, unique=True),
    Column("record", LargeBinary, nullable=False),
    Column("signature", LargeBinary, nullable=False),
)
_CHAMPIONS = Table(
    "champions",
    METADATA,
    Column("number", Integer, primary_key=True),
    Column("version", String(64), nullable=False),
    Column("line", String(128), nullable=False),
    Column("since", DateTime, nullable=False),  # UTC
    Column("undone", Boolean, nullable=False),
)


@dataclass(frozen=True)
class Entry:
    """A version as the registry holds it."""

    record: Record
    signed_bytes: bytes
    signature: bytes


class Registry:
    """Versions and aliases.

    Args:
        engine: where they are kept.
        files: where the models are kept.
        key: signs new versions; None: no version can be added here.
        public_key: Ed25519, 32 bytes; a version that it did not sign is refused.
    """

    def __init__(
        self, engine: Engine, files: FileStore, key: SigningKey | None, public_key: bytes
    ) -> None:
        self.engine = engine
        self._files = files
        self._key = key
        self._public_key = public_key

    @classmethod
    def open(
        cls,
        location: str,
        files: str | None = None,
        key: Path | None = None,
        public_key: bytes | None = None,
    ) -> Registry:
        """Open a registry; a folder is made where there is none.

        Args:
            location: a folder, or the SQLAlchemy URL of a database.
            files: fsspec URL of the models; default: in the folder.
            key: signing key's file; default: one in the folder, made at first use.
            public_key: to check with, where there is no key here.

        Raises:
            InputError: a database without ``files``, or without any key.
        """
        if "://" in location:
            if files is None or (key is None and public_key is None):
                raise InputError(
                    "--registry",
                    location.split("@")[-1],
                    "a database holds neither the models' files nor the key",
                    "name --files and --key (or --public-key) too",
                )
            signing = SigningKey.read(key) if key else None
            return cls(
                open_database(location),
                FileStore(files),
                signing,
                public_key or (signing.public if signing else b""),
            )
        folder = Path(location).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        path = key or folder / "signing.key"
        if key is None and not path.exists():
            SigningKey.generate().write(path)
        signing = SigningKey.read(path)
        engine = open_database(f"sqlite:///{folder / 'registry.sqlite'}")
        store = FileStore(files or str(folder / "versions"))
        return cls(engine, store, signing, public_key or signing.public)

    def add(
        self, folder: Path, provenance: Provenance, created: datetime | None = None
    ) -> ModelVersion:
        """Add a model folder as the next version; the same model again is the same version.

        Raises:
            ModelError: the folder holds no whole model.
            InputError: this registry has no signing key.
        """
        if self._key is None:
            raise InputError("--key", "", "adding a version needs the signing key", "name it")
        for _ in range(_TRIES):
            with self.engine.connect() as connection:
                last = connection.scalar(select(func.max(_VERSIONS.c.number))) or 0
            version = f"v{last + 1}"
            record = Record.of(version, folder, provenance, created or utc_now())
            known = self._by_hash(record.model_hash)
            if known is not None:
                return self._told(known)
            try:
                self._insert(last + 1, record, folder, self._key)
            except IntegrityError:
                continue  # another process took the number
            return self.show(version)
        raise ModelError("other processes keep adding versions; try again")

    def _insert(self, number: int, record: Record, folder: Path, key: SigningKey) -> None:
        body = record.canonical_bytes()
        with self.engine.begin() as connection:
            # The row first: whoever has the number may write the files under it.
            connection.execute(
                insert(_VERSIONS).values(
                    number=number,
                    model_hash=record.model_hash,
                    record=body,
                    signature=key.sign_bytes(PURPOSE, body),
                )
            )
            self._files.put(record.version, folder)
            if self._champion(connection, record.provenance.line) is None:
                self._crown(connection, record)

    def entries(self) -> list[Entry]:
        """All versions, newest first; raises ModelError where a record is damaged."""
        query = select(_VERSIONS).order_by(_VERSIONS.c.number.desc())
        with self.engine.connect() as connection:
            rows = connection.execute(query).mappings().all()
        try:
            return [
                Entry(Record.model_validate_json(row["record"]), row["record"], row["signature"])
                for row in rows
            ]
        except ValidationError as error:
            raise ModelError("a version's record in the registry is damaged") from error

    def listing(self, line: str = "") -> ModelsAnswer:
        """All versions as callers are told, newest first.

        Args:
            line: whose champion is the default; where none is named and there are several lines,
                no version is.
        """
        lines = self.lines()
        default = self.champion(line) if line or "" in lines or len(lines) == 1 else None
        return ModelsAnswer(
            default=default or "", models=tuple(self._told(entry) for entry in self.entries())
        )

    def entry(self, name: str) -> Entry:
        """A version by number or alias, its signature checked.

        Raises:
            Refusal: ``unknown-model``.
            ModelError: the signature does not fit.
        """
        version = self._resolved(name)
        found = next((e for e in self.entries() if e.record.version == version), None)
        if found is None:
            raise Refusal("unknown-model", f"there is no model {name}; see `model list`")
        if not verify(self._public_key, PURPOSE, found.signed_bytes, found.signature):
            raise ModelError(f"version {version}: the registry's key did not sign it")
        return found

    def show(self, name: str) -> ModelVersion:
        """What callers are told of a version; raises as ``entry`` does."""
        return self._told(self.entry(name))

    def folder(self, name: str) -> Path:
        """A folder with the version's files, checked against its signed record.

        Raises:
            Refusal, ModelError: as ``entry``; a file is missing or was changed.
        """
        return self._files.folder(self.entry(name).record)

    def champion(self, line: str = "") -> str | None:
        """The version that answers by default; of a line, or of the only one there is.

        Raises:
            Refusal: ``unknown-model``: there are several lines, and none of them was named.
        """
        with self.engine.connect() as connection:
            return self._champion(connection, self._line(connection, line))

    def lines(self) -> list[str]:
        """Names of the lines that have versions."""
        with self.engine.connect() as connection:
            return self._lines(connection)

    def promote(self, name: str, *, force: bool = False) -> ModelVersion:
        """Make a version the champion.

        Args:
            force: past the quality gate.

        Raises:
            Refusal: ``unknown-model`` or ``quality-gate``.
        """
        entry = self.entry(name)
        with self.engine.begin() as connection:
            now = self._champion(connection, entry.record.provenance.line)
            if now == entry.record.version:
                return self._told(entry)
            if now is not None and not force:
                check_quality(entry.record.provenance, self.entry(now).record.provenance)
            self._crown(connection, entry.record)
        return self.show(entry.record.version)

    def rollback(self, line: str = "") -> ModelVersion:
        """Make the champion before this one the champion again.

        Args:
            line: whose; default: as for ``champion``.

        Raises:
            Refusal: ``no-earlier-version``; ``unknown-model`` as ``champion``.
        """
        with self.engine.begin() as connection:
            line = self._line(connection, line)
            reigns = connection.execute(
                select(_CHAMPIONS.c.number, _CHAMPIONS.c.version)
                .where(_CHAMPIONS.c.undone.is_(False), _CHAMPIONS.c.line == line)
                .order_by(_CHAMPIONS.c.number.desc())
                .limit(2)
            ).all()
            if len(reigns) < 2:
                raise Refusal("no-earlier-version", "no version was champion before this one")
            connection.execute(
                update(_CHAMPIONS)
                .where(_CHAMPIONS.c.number == reigns[0].number)
                .values(undone=True)
            )
            version: str = reigns[1].version
        return self.show(version)

    def _told(self, entry: Entry) -> ModelVersion:
        line, version = entry.record.provenance.line, entry.record.version
        mark = f"@{line}" if line else ""
        aliases = [
            alias + mark
            for alias, found in ((LATEST, self._latest(line)), (CHAMPION, self.champion(line)))
            if found == version
        ]
        signed = verify(self._public_key, PURPOSE, entry.signed_bytes, entry.signature)
        return entry.record.told(tuple(aliases), signed=signed)

    def _resolved(self, name: str) -> str:
        alias, _, line = name.partition("@")
        if alias == LATEST:
            return self._latest(line) or name
        if alias == CHAMPION:
            return self.champion(line) or name
        return name

    def _latest(self, line: str) -> str | None:
        """The newest version of a line; raises as ``champion`` does."""
        with self.engine.connect() as connection:
            line = self._line(connection, line)
        found = (entry.record for entry in self.entries())
        return next((each.version for each in found if each.provenance.line == line), None)

    def _by_hash(self, model_hash: str) -> Entry | None:
        return next((e for e in self.entries() if e.record.model_hash == model_hash), None)

    def _line(self, connection: Connection, named: str) -> str:
        """The line that is meant: the one named, the one without a name, or the only one."""
        lines = self._lines(connection)
        if named and lines and named not in lines:
            known = ", ".join(each for each in lines if each) or "none has a name"
            raise Refusal("unknown-model", f"no models are called {named}; the lines: {known}")
        if named or "" in lines or not lines:
            return named
        if len(lines) > 1:
            names = " or ".join(f"{CHAMPION}@{each}" for each in lines)
            raise Refusal("unknown-model", f"there are models of several catalogues; name {names}")
        return lines[0]

    def _lines(self, connection: Connection) -> list[str]:
        query = select(_CHAMPIONS.c.line).distinct().order_by(_CHAMPIONS.c.line)
        return list(connection.scalars(query))

    def _champion(self, connection: Connection, line: str) -> str | None:
        version: str | None = connection.scalar(
            select(_CHAMPIONS.c.version)
            .where(_CHAMPIONS.c.undone.is_(False), _CHAMPIONS.c.line == line)
            .order_by(_CHAMPIONS.c.number.desc())
            .limit(1)
        )
        return version

    def _crown(self, connection: Connection, record: Record) -> None:
        row = {
            "version": record.version,
            "line": record.provenance.line,
            "since": naive(utc_now()),
            "undone": False,
        }
        connection.execute(insert(_CHAMPIONS).values(**row))


def check_quality(new: Provenance, champion: Provenance) -> None:
    """The quality gate: closed only by a fall beyond the noise of both private measurements.

    A version without a private measurement passes: no measurement is no fall.

    Raises:
        Refusal: ``quality-gate``.
    """
    before, after = champion.metrics.get(GATE_METRIC), new.metrics.get(GATE_METRIC)
    if before is None or after is None:
        return
    name = f"{GATE_METRIC}_se"
    error = math.hypot(champion.metrics.get(name, 0.0), new.metrics.get(name, 0.0))
    if before - after > GATE_ERRORS * error:
        raise Refusal(
            "quality-gate",
            f"{GATE_METRIC} fell from {before:.4f} to {after:.4f}, more than "
            f"{GATE_ERRORS:.0f} standard errors of {error:.4f}",
        )
