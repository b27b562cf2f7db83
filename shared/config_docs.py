"""``docs/config.md``, generated from the schema.

Run ``python -m groundswell.shared.config_docs docs/config.md`` after a change of the schema.
"""

from __future__ import annotations

import sys
from pathlib import Path

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from groundswell.shared.config import DEFAULTS_OF_HEADS, Config
from groundswell.shared.config_data import Columns, HomeRule
from groundswell.shared.config_file import toml_value

_HEAD = """# Configuration

One file, `groundswell.toml`, configures a simulation and a data site alike. `groundswell init DIR
--from EVENTS` writes a first one, `groundswell check` says what is wrong with it, and every run
leaves the effective values beside its results, each with its origin.

- A value of the command line stands above the file, the file above the default.
- An unknown key is an error.
- A relative path is relative to the file.
- A length of time is written `7d`, `12h`, `30m`, `45s`, or as a sum, `1d12h`; `0` needs no unit.

This page is generated from `shared/config.py`.
"""


def render() -> str:
    """The page, as Markdown."""
    parts = [_HEAD]
    for section, field in Config.model_fields.items():
        model = field.annotation
        assert isinstance(model, type)
        assert issubclass(model, BaseModel)
        parts.append(f"## [{section}]\n\n{model.__doc__}\n\n{_table(model)}")
        if section == "data":
            parts.append(f"### [data].columns\n\n{Columns.__doc__}\n\n{_table(Columns)}")
        if section == "sites":
            parts.append(f"### [sites].by, as a table\n\n{HomeRule.__doc__}\n\n{_table(HomeRule)}")
    parts += [_defaults_of(head) for head in DEFAULTS_OF_HEADS]
    return "\n".join(parts)


def _defaults_of(head: str) -> str:
    lines = [
        f'## Other defaults with `head = "{head}"`\n',
        "What a file or the command line names stands above them.\n",
        "| key | default |",
        "|---|---|",
    ]
    for section, values in DEFAULTS_OF_HEADS[head].items():
        lines += [f"| `[{section}].{key}` | `{toml_value(v)}` |" for key, v in values.items()]
    return "\n".join(lines) + "\n"


def _table(model: type[BaseModel]) -> str:
    lines = ["| key | default | meaning |", "|---|---|---|"]
    for key, field in model.model_fields.items():
        default = field.get_default(call_default_factory=True, validated_data={})
        if isinstance(default, BaseModel):
            text: str | None = "see below"
        elif default is PydanticUndefined:
            text = "required"
        else:
            written = toml_value(default)
            text = f"`{written}`" if written is not None else "unset"
        lines.append(f"| `{key}` | {text} | {field.description} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(render(), encoding="utf-8")
