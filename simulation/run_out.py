"""The folder that a simulation leaves: whose it is, and what of an earlier run has to go.

A new run replaces what an earlier one left there, so the folder must have been made by a run: a
mark says so. Files of the user's own are never taken for those of a run.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from groundswell.shared.errors import InputError
from groundswell.shared.results import write_whole

MARK = ".groundswell-run"
QUARANTINE = "quarantine.parquet"
_WRITTEN = (
    "sites", "state", "regions", "keys", "model", "heads.json", "config.toml", "results.json",
    "report.html", "catalogues", QUARANTINE,
)  # fmt: skip


def check(out: Path, *, resume: bool = False) -> None:
    """Refuse a folder that can't take a run, before anything is computed.

    Raises:
        InputError: it can't be made or written, holds files of the user's own in a run's places, or
            is to be resumed and holds no run.
    """
    nearest = next(path for path in (out.absolute(), *out.absolute().parents) if path.exists())
    if not nearest.is_dir():
        raise InputError("--out", str(out), f"{nearest.name} is a file", "name a folder")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise InputError("--out", str(out), "the folder can't be written", "name another one")
    if (out / MARK).is_file():
        return
    if resume:
        raise InputError("--resume", str(out), "no run was begun there", "leave --resume out")
    taken = [name for name in _WRITTEN if (out / name).exists()]
    if taken:
        raise InputError(
            "--out",
            str(out),
            f"holds {', '.join(taken)}, which no simulation has written and one would replace",
            "name a new folder",
        )


def begin(out: Path) -> None:
    """Make the folder ready for a new run: an earlier one leaves nothing that could be mixed in."""
    out.mkdir(parents=True, exist_ok=True)
    write_whole(out / MARK, b"A simulation of groundswell replaces what the last one left here.\n")
    for name in _WRITTEN:
        _remove(out / name)


def put_quarantine(rejected: Path, out: Path) -> None:
    """Rejected rows, a file or a folder with one for each site, in the place of earlier ones."""
    target = out / QUARANTINE
    _remove(target)
    if rejected.exists():
        shutil.move(rejected, target)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
