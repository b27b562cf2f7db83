"""``groundswell bench train``: users a second of one private step, ours against stock Opacus.

Both sides start from the same users' histories at the same prediction time and end with weights
moved by a clipped and noised sum of per-user gradients. The peer is PEFT's LoRA on all layers under
``PrivacyEngine.make_private``, with hooks and with ghost clipping. It reads the same event tokens:
without our cache it would have to read every event's text, which would cost it several times more.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from statistics import median
from typing import Any

import numpy as np
import torch

from groundswell.client.examples import eligible_times
from groundswell.client.gradients import ClipRule, PerUserGradients
from groundswell.client.mechanism import SystemRandomness, gaussian_noise, rounding_keys
from groundswell.shared.backbone import Backbone, encode_catalogue, load_backbone
from groundswell.shared.batches import Inputs
from groundswell.shared.catalogue import Catalogue
from groundswell.shared.config import Model, Privacy
from groundswell.shared.histories import Histories, Int64
from groundswell.shared.model import InterestModel, initialise, trainable
from groundswell.shared.scaling import FILL, scale
from groundswell.shared.spec import ModelSpec
from groundswell.shared.statistic_kind import Statistics
from groundswell.shared.statistics import STATISTICS
from groundswell.shared.task import Task
from groundswell.simulation.benchmarks.machine import interleaved_times, machine, peak_bytes, spread
from groundswell.simulation.benchmarks.train_peer import OpacusStep, adam, peer_name, stock_model
from groundswell.simulation.central import NEARLY_NOISELESS
from groundswell.simulation.datasets import complete_journey
from groundswell.simulation.evaluate import ALL, EvaluationSet, Forecast, evaluate
from groundswell.simulation.federation_data import prepare_sites

TOLERANCE = 1e-5  # relative to the gradient's norm, float32
SIGMA = 1.0
CLIP_NORM = Privacy().clip_norm
CASES = (1, 2)  # top layers that ours trains
TRAINED_WEEKS = 8
_USERS_AT_ONCE = 256


@dataclass(frozen=True)
class TrainData:
    """Users, and where their examples and their measurements lie.

    Attributes:
        train, measured: prediction times, int64 microseconds.
    """

    histories: Histories = field(repr=False)
    texts: tuple[str, ...] = field(repr=False)
    task: Task
    catalogue: Catalogue = field(repr=False)
    train: Int64
    measured: Int64


@dataclass(frozen=True)
class Work:
    """The examples of one step: one of each user."""

    histories: Histories = field(repr=False)
    at: Int64

    @property
    def row(self) -> Int64:
        return np.arange(len(self.histories), dtype=np.int64)


class OurStep:
    """Our private step: a site's integer sum and noise, and the coordinator's move."""

    def __init__(self, model: InterestModel, inputs: Inputs) -> None:
        self.model = model
        self.gradients = PerUserGradients(model, inputs)
        dimension = sum(p.numel() for p in self.gradients.parameters.values())
        self.rule = ClipRule(CLIP_NORM, scale(SIGMA, dimension), dimension)
        self.optimiser = adam(model)

    def step(self, work: Work) -> None:
        """From histories to moved weights."""
        keys = rounding_keys(bytes(32), work.histories.users)
        total = self.gradients.integer_sum(work.histories, work.row, work.at, keys, self.rule)
        total += gaussian_noise(len(total), SIGMA * self.rule.scale, SystemRandomness())
        mean = total * (self.rule.clip_norm / (FILL * self.rule.scale * len(work.histories)))
        start = 0
        for name in sorted(self.gradients.parameters):
            parameter = self.gradients.parameters[name]
            part = mean[start : start + parameter.numel()]
            parameter.grad = torch.from_numpy(part).to(parameter.dtype).view_as(parameter)
            start += parameter.numel()
        self.optimiser.step()
        self.optimiser.zero_grad()


def run(
    users: int = 128,
    repeats: int = 5,
    steps: int = 30,
    *,
    data: TrainData | None = None,
    backbone: Backbone | None = None,
) -> dict[str, Any]:
    """Measure both sides.

    Args:
        users: of one step, an example each.
        repeats: timed steps of each side, taken in turn; medians count.
        steps: of the short training behind each NDCG; 0: none, and null stands there.
        data, backbone: The Complete Journey and MiniLM unless given.

    Returns:
        The benchmark's JSON. ``equal``: where both train B of the same layers and the head, every
        user's gradient is the same to 1e-5 of its norm.
    """
    torch.set_num_threads(1)
    data = data or demo_data()
    backbone = backbone or load_backbone()
    work = draw_work(data, users, np.random.default_rng(0), data.train[-1:])
    statistics = exact_statistics(data, backbone)
    bench = Bench(data, backbone, statistics, work, steps)
    depth = len(backbone.layers())
    peers = {mode: bench.peer(mode, depth) for mode in ("hooks", "ghost")}
    own = {top: bench.ours(top) for top in CASES if top <= depth}
    calls: dict[str, Callable[[], object]] = {f"top {top}": side for top, side in own.items()}
    calls |= peers
    seconds = interleaved_times(calls, repeats)
    memory = {name: peak_bytes(call) for name, call in calls.items()}
    differences = {top: bench.difference(top) for top in own}
    quality = {f"top {top}": bench.quality_of_ours(top) for top in own}
    quality["hooks"] = bench.quality_of_peer(depth)
    rate = {name: users / median(each) for name, each in seconds.items()}
    cases = [
        {
            "side": "ours" if name.startswith("top") else "peer",
            "variant": name if name.startswith("top") else f"all {depth} layers, {name}",
            "users_per_second": rate[name],
            "spread": spread(seconds[name]),
            "ratio_to_hooks": rate[name] / rate["hooks"],
            "ratio_to_ghost": rate[name] / rate["ghost"],
            "bytes_per_user": None if memory[name] is None else (memory[name] or 0) / users,
            "gradient_difference": differences.get(_top(name)),
            "ndcg@10": quality.get(name),
        }
        for name in calls
    ]
    return {
        "name": "train",
        "machine": f"{machine()}, 1 thread",
        "ours": rate["top 1"],
        "peer": rate["hooks"],
        "unit": "users/s of one private step",
        "ratio": rate["top 1"] / rate["hooks"],
        "higher_is_better": True,
        "equal": all(difference <= TOLERANCE for difference in differences.values()),
        "peer_name": f"PEFT LoRA on all {depth} layers, Opacus make_private with hooks",
        "peer_version": f"peft {version('peft')}, opacus {version('opacus')}",
        "batch": users,
        "training_steps": steps,
        "cases": cases,
    }


def _top(name: str) -> int:
    return int(name.removeprefix("top ")) if name.startswith("top ") else 0


class Bench:
    """Builds the sides over one set of users."""

    def __init__(
        self,
        data: TrainData,
        backbone: Backbone,
        statistics: Statistics,
        work: Work,
        steps: int,
    ) -> None:
        self.data, self.backbone, self.statistics = data, backbone, statistics
        self.work, self.steps = work, steps

    def ours(self, top: int) -> Callable[[], object]:
        """Our step over the users."""
        return self.ours_with_dimension(top)[0]

    def ours_with_dimension(self, top: int) -> tuple[Callable[[], object], int]:
        """Our step, and the length of its vector."""
        side = OurStep(*self._model(top))
        return lambda: side.step(self.work), side.rule.max_nonzero

    def peer(self, mode: str, depth: int) -> Callable[[], object]:
        side, making = self._peer(mode, depth)
        return lambda: side.step(lambda: making.batch(*_rows(self.work)))

    def difference(self, top: int) -> float:
        """Largest difference of a user's gradient, over its norm, where both train the same."""
        model, inputs = self._model(top)
        stock = stock_model(model, self.backbone, top, both=False)
        ours = PerUserGradients(model, inputs, users_at_once=len(self.work.histories))
        _, vectors = next(ours.vectors(*_rows(self.work)))
        names = [peer_name(name, top, top) for name in sorted(ours.parameters)]
        peer = OpacusStep(stock, "hooks", len(self.work.histories), CLIP_NORM, SIGMA)
        expected = peer.vectors(lambda: ours.batch(*_rows(self.work)), names)
        norms = np.linalg.norm(expected, axis=1)
        return float(np.max(np.linalg.norm(vectors - expected, axis=1) / norms))

    def quality_of_ours(self, top: int) -> float | None:
        model, inputs = self._model(top)
        side = OurStep(model, inputs)
        return self._trained(model, inputs, side.step)

    def quality_of_peer(self, depth: int) -> float | None:
        side, making = self._peer("hooks", depth)
        return self._trained(
            side.model,
            making.inputs,
            lambda work: side.step(lambda: making.batch(*_rows(work))),
        )

    def _trained(
        self, model: InterestModel, inputs: Inputs, step: Callable[[Work], None]
    ) -> float | None:
        """NDCG@10 at the measured times after a short private training; the same users each."""
        if not self.steps:
            return None
        draw = np.random.default_rng(1)
        for _ in range(self.steps):
            step(
                draw_work(
                    self.data, len(self.work.histories), draw, self.data.train[-TRAINED_WEEKS:]
                )
            )
        rows = EvaluationSet.build(
            self.data.histories, self.data.measured, self.data.task, len(self.data.catalogue)
        )

        def score(h: Histories, at: Int64) -> Forecast:
            with torch.no_grad():
                return Forecast(model(inputs.batch(h, at))[:, 0].numpy())

        return evaluate(score, rows, (ALL,)).slices[ALL].mean("ndcg@10")

    def _peer(self, mode: str, depth: int) -> tuple[OpacusStep, PerUserGradients]:
        """The peer, and what makes its batches."""
        model, inputs = self._model(depth)
        stock = stock_model(model, self.backbone, depth)
        users = len(self.work.histories)
        side = OpacusStep(stock, mode, users, CLIP_NORM, SIGMA)
        return side, PerUserGradients(model, inputs)

    def _model(self, top: int) -> tuple[InterestModel, Inputs]:
        """Our model with its adapter moved off zero, so that every part has a gradient."""
        spec = ModelSpec(layers=top)
        data = self.data
        inputs = Inputs(
            spec,
            data.task,
            data.catalogue,
            self.backbone,
            texts=data.texts,
            statistics=self.statistics,
        )
        model = InterestModel(spec, self.backbone, inputs.space)
        initialise(model, bytes(32))
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for name, parameter in trainable(model).items():
                if "lora_B" in name:
                    parameter.normal_(std=0.01, generator=generator)
        return model, inputs


def _rows(work: Work) -> tuple[Histories, Int64, Int64]:
    return work.histories, work.row, work.at


def demo_data() -> TrainData:
    """The Complete Journey's households as if at one site; measured at a validation Monday."""
    dataset = complete_journey.load(8)
    pooled = prepare_sites(dataset, 0).pooled
    return TrainData(
        pooled.histories,
        tuple(pooled.texts),
        dataset.task,
        dataset.catalogue,
        dataset.times.train,
        dataset.times.validation[:1],
    )


def draw_work(data: TrainData, users: int, draw: np.random.Generator, times: Int64) -> Work:
    """Examples of ``users`` different users, drawn among those that have one at a drawn time."""
    at = int(draw.choice(times))
    open_rows = np.flatnonzero(
        eligible_times(data.histories, np.array([at]), data.task.window_us)[:, 0]
    )
    rows = np.sort(draw.choice(open_rows, size=min(users, len(open_rows)), replace=False))
    return Work(data.histories.take(rows), np.full(len(rows), at, dtype=np.int64))


def exact_statistics(data: TrainData, backbone: Backbone) -> Statistics:
    """The population statistics before the examples' weeks, without noise: both sides' inputs."""
    until = int(data.train[-TRAINED_WEEKS:][0])
    times = data.task.prediction_times(int(data.train[0]), until - data.task.window_us)
    embeddings = encode_catalogue(backbone, data.catalogue, 1).unit
    found: Statistics = {}
    for name in Model().statistics:
        kind = STATISTICS[name]
        total = np.zeros(kind.dimension(len(data.catalogue)))
        for start in range(0, len(data.histories), _USERS_AT_ONCE):
            rows = np.arange(start, min(start + _USERS_AT_ONCE, len(data.histories)))
            seen = data.histories.take(rows).before(np.full(len(rows), until))
            total += kind.user_vectors(seen, times, data.task, data.catalogue, found).sum(axis=0)
        users = float(len(data.histories))
        found = {
            **found,
            **kind.estimate(total, users, NEARLY_NOISELESS, data.catalogue, found, embeddings),
        }
    return found
