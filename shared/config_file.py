"""Reading and writing ``groundswell.toml``: command line over file over default, origins kept."""

from __future__ import annotations

import difflib
import os
import tomllib
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from groundswell.shared.config import Config
from groundswell.shared.config_data import Section
from groundswell.shared.durations import format_duration
from groundswell.shared.errors import InputError

COMMAND_LINE = "command line"
DEFAULT = "default"


@dataclass(frozen=True)
class LoadedConfig:
    """A configuration, and where each value comes from.

    Attributes:
        config: with absolute paths.
        origins: ``section.key`` to ``command line``, the file's name, or ``default``.
    """

    config: Config
    origins: Mapping[str, str]

    def effective(self, folder: Path) -> str:
        """TOML of all values, each with its origin as a comment, paths relative to ``folder``.

        Read back from ``folder``, it gives the same configuration.
        """
        lines = ["# The effective configuration: command line > file > default."]
        for section, fields in _sections(self.config):
            lines += ["", f"[{section}]"]
            for key, value in fields:
                origin = self.origins.get(f"{section}.{key}", DEFAULT)
                text = toml_value(_relative(section, key, value, folder))
                if text is None:
                    lines.append(f"# {key} is unset  # {origin}")
                else:
                    lines.append(f"{key} = {text}  # {origin}")
        return "\n".join(lines) + "\n"


def load_config(
    path: Path | None = None, overrides: Mapping[str, object] | None = None
) -> LoadedConfig:
    """Read a configuration file; without one, the defaults.

    Args:
        path: the file; relative paths in it are relative to its folder.
        overrides: values of the command line by ``section.key``; None means not given.

    Raises:
        InputError: the file can't be read, is not TOML, has an unknown key or a wrong value.
    """
    raw = _read(path) if path else {}
    name = path.name if path else DEFAULT
    origins = {f"{section}.{key}": name for section, key in _keys(raw)}
    for dotted, value in (overrides or {}).items():
        if value is not None:
            section, _, key = dotted.partition(".")
            raw.setdefault(section, {})[key] = value
            origins[dotted] = COMMAND_LINE
    try:
        config = Config.model_validate(raw)
    except ValidationError as error:
        raise _explain(error.errors()[0], path) from error
    return LoadedConfig(_absolute(config, (path.parent if path else Path()).absolute()), origins)


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(
            "--config", str(path), f"the file can't be read ({error.strerror})", "name another"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(
            "--config", str(path), f"the file is not TOML: {error}", "mend that line"
        ) from error


def _keys(raw: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for section, table in raw.items():
        if isinstance(table, Mapping):
            yield from ((section, key) for key in table)


def _explain(error: ErrorDetails, path: Path | None) -> InputError:
    """The first complaint of the schema, in the words of a user of the file."""
    names = [part for part in error["loc"] if isinstance(part, str)]
    where = [part for part in names if part.isidentifier() and part not in ("HomeRule", "str")]
    key = f"[{where[0]}].{'.'.join(where[1:])}" if len(where) > 1 else f"[{''.join(where)}]"
    file = path.name if path else "the command line"
    if error["type"] == "extra_forbidden":
        siblings = list(_model_at(where[:-1]).model_fields)
        close = difflib.get_close_matches(where[-1], siblings, n=1)
        remedy = f"did you mean {close[0]}?" if close else f"known are: {', '.join(siblings)}"
        return InputError(key, where[-1], f"{file} has an unknown key", remedy)
    rule = error["msg"].removeprefix("Value error, ")
    value = "(not shown)" if "password" in rule else error.get("input")
    return InputError(key, value, rule, f"mend it in {file}; see docs/config.md")


def _model_at(path: Sequence[str]) -> type[BaseModel]:
    """The section that the path of keys leads to."""
    model: type[BaseModel] = Config
    for part in path:
        field = model.model_fields.get(part)
        inner = _section_in(field.annotation) if field else None
        if inner is None:
            return model
        model = inner
    return model


def _section_in(annotation: object) -> type[Section] | None:
    """The section class in a field's type, also within Optional, tuple and Annotated."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation
    if get_origin(annotation) in (Union, types.UnionType, tuple, Annotated):
        found = (_section_in(inner) for inner in get_args(annotation))
        return next((inner for inner in found if inner), None)
    return None


def _sections(config: Config) -> Iterator[tuple[str, list[tuple[str, Any]]]]:
    for section in Config.model_fields:
        table: Section = vars(config)[section]
        yield section, list(table)


_PATHS = {("catalogue", "file"), ("task", "calendar")}


def _absolute(config: Config, base: Path) -> Config:
    data = config.data.model_copy(
        update={
            "events": tuple(_join(base, name) for name in config.data.events),
            "also": tuple(
                source.model_copy(
                    update={"events": tuple(_join(base, name) for name in source.events)}
                )
                for source in config.data.also
            ),
        }
    )
    update: dict[str, Section] = {"data": data}
    for section, key in _PATHS:
        table: Section = vars(config)[section]
        value = vars(table)[key]
        if value is not None:
            update[section] = table.model_copy(update={key: _join(base, value)})
    folder = base / config.model.backbone
    if config.model.backbone.startswith((".", "/", "~")) or folder.is_dir():
        backbone = _join(base, config.model.backbone)
        update["model"] = config.model.model_copy(update={"backbone": backbone})
    return config.model_copy(update=update)


def _join(base: Path, name: str) -> str:
    if "://" in name:
        return name
    return os.path.normpath(base / Path(name).expanduser())


def _relative(section: str, key: str, value: Any, folder: Path) -> Any:
    if section == "data" and key == "events":
        return tuple(_from(folder, name) for name in value)
    if section == "data" and key == "also":
        return [
            {**dict(source), "events": tuple(_from(folder, name) for name in source.events)}
            for source in value
        ]
    is_path = (section, key) in _PATHS or (section, key) == ("model", "backbone")
    return _from(folder, value) if is_path and value is not None else value


def _from(folder: Path, name: str) -> str:
    if not Path(name).is_absolute():
        return name
    relative = os.path.relpath(name, folder.absolute())
    return relative if relative.startswith(".") else f"./{relative}"


def toml_value(value: Any) -> str | None:
    """The value in TOML, None for what TOML can't say (unset)."""
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, timedelta):
        return f'"{format_duration(value)}"'
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, BaseModel):
        return toml_value(dict(value))
    if isinstance(value, Mapping):
        pairs = [(key, toml_value(inner)) for key, inner in value.items()]
        inside = ", ".join(f"{_key(key)} = {text}" for key, text in pairs if text is not None)
        return f"{{ {inside} }}" if inside else "{}"
    return f"[{', '.join(text for text in map(toml_value, value) if text is not None)}]"


def _key(key: str) -> str:
    return (
        key
        if key.replace("_", "").replace("-", "").isascii() and key.isidentifier()
        else _quoted(key)
    )


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    escaped = escaped.replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t")
    return f'"{escaped}"'
