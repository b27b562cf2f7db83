"""A small real model, with the demo's backbone and a catalogue in two languages."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator
from pathlib import Path

import numpy as np
import pytest

from groundswell.shared.answering import ServedModel
from groundswell.shared.catalogue import Catalogue
from groundswell.shared.task import Task

ITEMS = {
    "COFFEE": ("coffee beans", "espresso pods"),
    "FITNESS": ("fitness band", "smartwatch"),
    "SOUP": ("tomato soup", "noodle soup"),
    "TEA": ("green tea", "black tea"),
    "手机": ("智能手机", "手机壳"),
}
POPULARITY = (0.3, 0.2, 0.25, 0.15, 0.1)
PRIVACY = {
    "private": True,
    "seeded": True,
    "delta": 1e-6,
    "central": {
        "epsilon": 2.9,
        "reserved_epsilon": 3.0,
        "noise_multiplier": 4.0,
        "tpr_at_1pct_fpr": 0.18,
    },
    "local": {
        "epsilon": 11.0,
        "reserved_epsilon": 12.0,
        "noise_multiplier": 1.6,
        "tpr_at_1pct_fpr": 1.0,
    },
    "excludes": [],
}
STATISTICS_AS_OF = 1_500_000_000_000_000


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """Repeat a fuzz test, with new input each time, for ``GROUNDSWELL_FUZZ_SECONDS``."""
    end = time.monotonic() + float(os.environ.get("GROUNDSWELL_FUZZ_SECONDS", "0"))
    outcome = yield
    if pyfuncitem.get_closest_marker("fuzz") is not None:
        names = pyfuncitem._fixtureinfo.argnames
        while time.monotonic() < end:
            pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names})
    return outcome


@pytest.fixture(scope="session")
def shop() -> Catalogue:
    """Five labels, two or three groups, ten items."""
    labels = tuple(sorted(ITEMS))
    return Catalogue(
        name="shop",
        labels=labels,
        texts=tuple(f"{label}: {', '.join(ITEMS[label])}" for label in labels),
        groups=tuple("drinks" if label in ("COFFEE", "TEA") else "" for label in labels),
        sizes=np.full(len(labels), 2, dtype=np.float32),
        item_to_label={item: label for label in labels for item in ITEMS[label]},
    )


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory, shop: Catalogue) -> Path:
    """A saved model: the weights before the first round, with a released popularity."""
    return write_model(tmp_path_factory.mktemp("served") / "model", shop, POPULARITY)


@pytest.fixture(scope="session")
def served(model_folder: Path) -> ServedModel:
    """That model, ready to answer."""
    from groundswell.shared.served import serve_folder

    return serve_folder(model_folder, "v1")


@pytest.fixture(scope="session")
def make_model(shop: Catalogue) -> Callable[[Path, float], Path]:
    """Saves another small model to a folder; the number makes it different."""

    def make(folder: Path, tea: float) -> Path:
        return write_model(folder, shop, (0.3, 0.2, 0.25, tea, 0.1))

    return make


def write_model(folder: Path, catalogue: Catalogue, popularity: tuple[float, ...]) -> Path:
    """Save an untrained model of a catalogue."""
    from groundswell.shared.backbone import load_backbone
    from groundswell.shared.batches import Inputs
    from groundswell.shared.checkpoint import Checkpoint, model_weights, save
    from groundswell.shared.model import InterestModel, initialise
    from groundswell.shared.spec import ModelSpec

    backbone = load_backbone()
    spec, task = ModelSpec(), Task(actions={"purchase": 1.0, "view": 0.1})
    statistics = {"popularity": np.array(popularity, dtype=np.float32)}
    inputs = Inputs(spec, task, catalogue, backbone, statistics=statistics)
    model = InterestModel(spec, backbone, inputs.space)
    initialise(model, bytes(32))
    checkpoint = Checkpoint(
        spec=spec,
        task=task,
        catalogue=catalogue,
        backbone_hash=backbone.hash,
        weights=model_weights(model),
        statistics=statistics,
        statistics_as_of=STATISTICS_AS_OF,
        privacy=PRIVACY,
        card="# A model\n",
    )
    save(folder, checkpoint, backbone)
    return folder
