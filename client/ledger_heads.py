"""Heads that others have seen, and the ledgers of a folder checked against them.

``heads.json`` maps a site's name to the highest head that its coordinator or its peers have seen:
``[row, hash]``, or ``{"row": ..., "hash": ..., "public_key": ...}``, hash and key in hex.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from groundswell.client.ledger import verify
from groundswell.client.ledger_rows import Checked, Opened
from groundswell.shared.errors import InputError, LedgerError
from groundswell.shared.roster import Head

HEADS = "heads.json"
LEDGER = "ledger.sqlite"


@dataclass(frozen=True)
class Known:
    """What others know of a site's ledger."""

    head: Head
    public_key: bytes | None = None


@dataclass(frozen=True)
class Verdict:
    """A ledger file and what is wrong with it; ``checked`` is None where it can't be read."""

    site: str
    path: Path
    problems: tuple[str, ...]
    tail_checked: bool
    checked: Checked | None


def read_heads(path: Path) -> dict[str, Known]:
    """Read a heads file.

    Raises:
        InputError: no such file, or not of the form above.
    """
    try:
        table = json.loads(path.read_bytes())
        return {str(site): _known(value) for site, value in dict(table).items()}
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InputError(
            "--heads", str(path), f"is no file of ledger heads ({error})",
            "name the heads.json of the coordinator or of a peer",
        ) from None  # fmt: skip


def _known(value: Any) -> Known:
    if isinstance(value, dict):
        key = value.get("public_key")
        head = Head(int(value["row"]), bytes.fromhex(value["hash"]))
        return Known(head, bytes.fromhex(key) if key else None)
    row, digest = value
    return Known(Head(int(row), bytes.fromhex(digest)))


def find_ledgers(path: Path) -> list[Path]:
    """The ledger file itself, or every ``ledger.sqlite`` below a folder, sorted.

    Raises:
        InputError: there is none.
    """
    found = sorted(path.rglob(LEDGER)) if path.is_dir() else [path]
    if not found or not found[0].is_file():
        raise InputError(
            "PATH", str(path), f"is no ledger and holds no {LEDGER}", "name a ledger or a run"
        )
    return found


def check_all(path: Path, heads: Path | None = None) -> list[Verdict]:
    """Check a ledger file, or every ledger of a run.

    Args:
        path: a ledger file, or a folder with ledgers in ``sites/NAME/``.
        heads: a heads file; for a folder, the one in it by default.

    Raises:
        InputError: no ledger there, or a heads file that can't be read.
    """
    whole = path.is_dir()
    if heads is None and whole and (path / HEADS).is_file():
        heads = path / HEADS
    known = read_heads(heads) if heads else {}
    verdicts = [_check_one(file, known, named=whole) for file in find_ledgers(path)]
    if whole:
        missing = sorted(set(known) - {verdict.site for verdict in verdicts})
        verdicts += [
            Verdict(site, path, ("the ledger is missing: others have seen it",), True, None)
            for site in missing
        ]
    return verdicts


def _check_one(file: Path, known: dict[str, Known], *, named: bool) -> Verdict:
    """One ledger; ``named`` where its folder tells whose it must be."""
    folder = file.parent.name
    try:
        opened = next((row for _, row in verify(file).rows if isinstance(row, Opened)), None)
        site = folder if named or opened is None else opened.site
        seen = known.get(site)
        checked = verify(file, seen.public_key if seen else None, (seen.head,) if seen else ())
    except LedgerError as error:
        return Verdict(folder, file, (str(error),), False, None)
    problems = list(checked.problems)
    if opened is not None and opened.site != site:
        problems.append(f"is the ledger of the site {opened.site}, not of {site}")
    if known and seen is None:
        problems.append(f"the heads file knows no site {site}")
    return Verdict(site, file, tuple(problems), checked.tail_checked, checked)
