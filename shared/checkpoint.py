"""The global model on disk, in standard forms.

    adapter_config.json, adapter_model.safetensors   a PEFT adapter of the public backbone
    head.safetensors          the gates
    statistics.safetensors    released statistics
    labels.parquet            label, text, group, size
    manifest.json             everything else that a forecast needs, and the hashes
    README.md                 the model card

``PeftModel.from_pretrained`` loads the adapter, ``groundswell.load_model`` the whole. No path of a
machine is written.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from groundswell.shared.backbone import Backbone
from groundswell.shared.catalogue import Catalogue
from groundswell.shared.demand_release import RegionRelease
from groundswell.shared.errors import InputError, ModelError
from groundswell.shared.interest import lora_config, peft_name
from groundswell.shared.model import InterestModel
from groundswell.shared.spec import ModelSpec
from groundswell.shared.task import Task
from groundswell.shared.tensors import model_hash

__all__ = ["Checkpoint", "load", "model_hash", "save"]

Tensors = Mapping[str, NDArray[np.float32]]
FORMAT = 1
_ENCODER = "encoder."
_HEAD = "head."


@dataclass(frozen=True)
class Checkpoint:
    """A model as it is kept.

    Attributes:
        spec, task, catalogue: what it forecasts, and with what.
        backbone_hash: SHA-256 (hex) of the backbone that it belongs to.
        weights: adapter (A and B) and head, by parameter name of ``InterestModel``.
        statistics: released statistics by name.
        statistics_as_of: until when they saw events, UTC microseconds; None where data has no time.
        columns: canonical column name to the name in the users' data.
        profile: columns of a user's profile in the users' data.
        timezone: of times without one.
        privacy: both tiers' epsilons and the rest, as ``results.json`` has them.
        card: text of the model card.
        regions: what the runs of regions say of the demand that stands among the statistics.
    """

    spec: ModelSpec
    task: Task
    catalogue: Catalogue
    backbone_hash: str
    weights: Tensors
    statistics: Tensors
    statistics_as_of: int | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    profile: tuple[str, ...] = ()
    timezone: str = "UTC"
    privacy: Mapping[str, Any] = field(default_factory=dict)
    card: str = ""
    regions: Mapping[str, RegionRelease] = field(default_factory=dict)

    def tensors(self) -> dict[str, NDArray[np.float32]]:
        """Every tensor, by a name that tells where it belongs."""
        named = {f"weights/{name}": value for name, value in self.weights.items()}
        return named | {f"statistics/{name}": value for name, value in self.statistics.items()}

    @property
    def hash(self) -> str:
        """SHA-256 (hex) over all tensors, see ``tensors.model_hash``."""
        return model_hash(self.tensors()).hex()


def model_weights(model: InterestModel) -> dict[str, NDArray[np.float32]]:
    """The tensors of a model that a checkpoint keeps: LoRA's A and B, and the head."""
    return {
        name: value.detach().cpu().float().numpy().copy()
        for name, value in model.named_parameters()
        if "lora_" in name or name.startswith(_HEAD)
    }


def save(folder: Path, checkpoint: Checkpoint, backbone: Backbone) -> None:
    """Write a checkpoint; the folder is replaced as a whole, or stays as it was."""
    partial = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        _write(partial, checkpoint, backbone)
        _replace(folder, partial)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def load(folder: Path, backbone: Backbone) -> Checkpoint:
    """Read a checkpoint and check its hashes.

    Raises:
        ModelError: a file is missing or damaged, or it belongs to another backbone.
    """
    manifest = read_manifest(folder)
    try:
        spec = ModelSpec.from_dict(manifest["model"])
        catalogue = Catalogue.parse(json.dumps(manifest["catalogue"]).encode(), manifest["name"])
        adapter = load_file(folder / "adapter_model.safetensors")
        head = load_file(folder / "head.safetensors")
        statistics = load_file(folder / "statistics.safetensors")
        checkpoint = Checkpoint(
            spec=spec,
            task=Task.model_validate(manifest["task"]),
            catalogue=catalogue,
            backbone_hash=manifest["backbone_hash"],
            weights=_weights(adapter, head, backbone, spec),
            statistics=statistics,
            statistics_as_of=manifest["statistics_as_of"],
            columns=manifest["columns"],
            profile=tuple(manifest["profile"]),
            timezone=manifest["timezone"],
            privacy=manifest["privacy"],
            card=(folder / "README.md").read_text(encoding="utf-8"),
            regions={
                name: RegionRelease(**each) for name, each in manifest.get("regions", {}).items()
            },
        )
        hashes = manifest["model_hash"], manifest["catalogue_hash"]
    except (
        OSError, KeyError, TypeError, AttributeError, ValueError, InputError, SafetensorError
    ) as error:  # fmt: skip
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise ModelError(f"the model in {folder.name!r} can't be read: {reason}") from error
    if checkpoint.backbone_hash != backbone.hash:
        raise ModelError(
            f"the model in {folder.name!r} belongs to another {spec.backbone}; "
            "name the folder of the backbone that it was trained on"
        )
    if (checkpoint.hash, catalogue.hash) != hashes:
        raise ModelError(f"the model in {folder.name!r} does not match its hashes; fetch it again")
    return checkpoint


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a checkpoint folder; raises ModelError when there is none."""
    try:
        manifest: dict[str, Any] = json.loads((folder / "manifest.json").read_text("utf-8"))
    except (OSError, ValueError) as error:
        inside = sorted(path.parent.name for path in folder.glob("*/manifest.json"))
        told = f"; it holds one for each catalogue: name {' or '.join(inside)} in it"
        raise ModelError(
            f"{folder.name!r} holds no readable manifest.json{told if inside else ''}"
        ) from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise ModelError(f"the manifest.json in {folder.name!r} has not the format {FORMAT}")
    return manifest


def _write(folder: Path, checkpoint: Checkpoint, backbone: Backbone) -> None:
    spec = checkpoint.spec
    config = lora_config(backbone, spec.layers, spec.rank, spec.alpha)
    config.inference_mode = True
    config.save_pretrained(str(folder))
    _sort_targets(folder / "adapter_config.json")
    adapter, head = {}, {}
    for name, value in checkpoint.weights.items():
        if name.startswith(_HEAD):
            head[name.removeprefix(_HEAD)] = np.ascontiguousarray(value)
        else:
            key = peft_name(name.removeprefix(_ENCODER), backbone, spec.layers)
            adapter[key] = np.ascontiguousarray(value)
    save_file(adapter, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    save_file(head, folder / "head.safetensors")
    save_file(
        {name: np.ascontiguousarray(value) for name, value in checkpoint.statistics.items()},
        folder / "statistics.safetensors",
    )
    catalogue = checkpoint.catalogue
    pl.DataFrame(
        {
            "label": catalogue.labels,
            "text": catalogue.texts,
            "group": catalogue.groups,
            "size": catalogue.sizes,
        }
    ).write_parquet(folder / "labels.parquet")
    manifest = {
        "format": FORMAT,
        "name": catalogue.name,
        "model": spec.to_dict(),
        "backbone": backbone.name,
        "backbone_hash": checkpoint.backbone_hash,
        "model_hash": checkpoint.hash,
        "catalogue_hash": catalogue.hash,
        "statistics_as_of": checkpoint.statistics_as_of,
        "columns": dict(checkpoint.columns),
        "profile": list(checkpoint.profile),
        "timezone": checkpoint.timezone,
        "task": checkpoint.task.model_dump(mode="json"),
        "privacy": dict(checkpoint.privacy),
        "catalogue": json.loads(catalogue.canonical_bytes()),
    }
    if checkpoint.regions:
        manifest["regions"] = {name: asdict(each) for name, each in checkpoint.regions.items()}
    text = json.dumps(manifest, indent=1, ensure_ascii=False, sort_keys=True)
    (folder / "manifest.json").write_text(text + "\n", encoding="utf-8")
    (folder / "README.md").write_text(checkpoint.card, encoding="utf-8")


def _sort_targets(file: Path) -> None:
    """PEFT keeps the names in a set, whose order differs from one process to the next."""
    told = json.loads(file.read_text(encoding="utf-8"))
    told["target_modules"] = sorted(told["target_modules"])
    file.write_text(json.dumps(told, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _replace(folder: Path, new: Path) -> None:
    old = folder.with_name(f".{folder.name}.{os.getpid()}.old")
    if folder.exists():
        folder.replace(old)
    new.replace(folder)
    shutil.rmtree(old, ignore_errors=True)


def _weights(
    adapter: Tensors, head: Tensors, backbone: Backbone, spec: ModelSpec
) -> dict[str, NDArray[np.float32]]:
    """Parameter names of ``InterestModel`` from those of the files."""
    weights = {_HEAD + name: value for name, value in head.items()}
    first = len(backbone.layers()) - spec.layers
    prefix = f"base_model.model.{backbone.layers_path}."
    for name, value in adapter.items():
        layer, _, inner = name.removeprefix(prefix).partition(".")
        inner = inner.replace(".weight", ".default.weight")
        weights[f"{_ENCODER}layers.{int(layer) - first}.{inner}"] = value
    return weights
