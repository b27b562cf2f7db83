"""Prints what the package requires with some extras, from pyproject.toml: a layer of the images.

Usage: requirements.py pyproject.toml [EXTRA...]
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path
from typing import Any


def requirements(project: dict[str, Any], extras: list[str]) -> list[str]:
    """The requirements, those of extras that name extras of this package resolved."""
    optional = project["optional-dependencies"]
    found = list(project["dependencies"])
    waiting, seen = list(extras), set()
    while waiting:
        extra = waiting.pop()
        if extra in seen:
            continue
        seen.add(extra)
        for line in optional[extra]:
            own = re.fullmatch(r"groundswell\[(.+)\]", line)
            if own:
                waiting += own.group(1).split(",")
            else:
                found.append(line)
    return found


if __name__ == "__main__":
    content = tomllib.loads(Path(sys.argv[1]).read_text())
    sys.stdout.write("\n".join(requirements(content["project"], sys.argv[2:])) + "\n")
