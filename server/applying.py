"""What the coordinator makes of a released sum; everything here is free post-processing."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from groundswell.server import optimiser
from groundswell.server.checkpointing import LeftOut, RunState
from groundswell.server.unmasking import SecureTotal
from groundswell.shared.blocks import marked, own_block, own_statistics
from groundswell.shared.catalogue import Catalogue
from groundswell.shared.histories import Float32
from groundswell.shared.plan import Phase, Plan, PlannedRelease
from groundswell.shared.scaling import FILL, decode
from groundswell.shared.statistics import statistic_of

ADAPTER_MARK = "lora_"


@dataclass(frozen=True)
class Surroundings:
    """The public things that post-processing uses, of one catalogue.

    Attributes:
        catalogue: the labels; ``label_embeddings``: float32 ``[L, D]``, rows of unit length.
    """

    catalogue: Catalogue
    label_embeddings: Float32


@dataclass(frozen=True)
class Score:
    """A released validation score and the standard error of its noise."""

    value: float
    se: float


def noise_deviation(release: PlannedRelease, sites: int) -> float:
    """Standard deviation of the noise on each coordinate of a decoded sum over ``sites`` sites."""
    unit = release.clip_norm / (FILL * release.scale)
    return math.sqrt(sites) * release.standard_deviation * unit


def apply_statistic(
    state: RunState,
    plan: Plan,
    release: PlannedRelease,
    total: SecureTotal,
    phase: Phase,
    around: Sequence[Surroundings],
    number_of: Callable[[str], int],
) -> RunState:
    """Replace the statistics of this kind by what the sum says, each catalogue's from its block.

    A catalogue of which no site is among the survivors keeps what it had, and is noted as left out.

    Args:
        around: one for each of the plan's catalogues, in their order.
        number_of: the place of a site's catalogue among the plan's.
    """
    kind = statistic_of(release.kind, release.actions, plan.kinds)
    whole = decode(total.total, release.clip_norm, release.scale)
    users = [0] * len(around)
    for site, declared in total.declared.items():
        users[number_of(site)] += declared
    model, left_out = state.model, list(state.left_out)
    for number, each in enumerate(around):
        if not users[number]:
            left_out.append(LeftOut(release.kind, phase, plan.catalogues[number].name))
            continue
        released = kind.estimate(
            whole[own_block(kind, plan.catalogues, number)],
            float(users[number]),
            noise_deviation(release, len(total.survivors)),
            each.catalogue,
            own_statistics(model.statistics, plan.catalogues, number),
            each.label_embeddings,
        )
        model = model.with_statistics(marked(released, plan.catalogues, number))
    return replace(state, model=model, left_out=tuple(left_out))


def apply_gradient(
    state: RunState, plan: Plan, release: PlannedRelease, total: SecureTotal
) -> RunState:
    """One optimiser step on g = decoded sum / (q sum N)."""
    expected = release.sampling_rate * sum(total.declared.values())
    gradient = decode(total.total, release.clip_norm, release.scale) / expected
    variance = (noise_deviation(release, len(total.survivors)) / expected) ** 2
    weights, moved = optimiser.update(
        plan.optimiser,
        state.optimiser,
        state.model.flat_weights(),
        gradient,
        learning_rates(state, plan),
        variance,
        plan.rounds,
    )
    return replace(state, model=state.model.with_flat_weights(weights), optimiser=moved)


def read_score(release: PlannedRelease, total: SecureTotal) -> Score:
    """Mean NDCG@10 over users from the sums (of users' means, of users).

    The standard error is that of the noise (delta method); it does not hold the users' spread. With
    few users noise can drown the score: no NDCG lies outside 0..1, and the error tells the rest.
    """
    scored, users = decode(total.total, release.clip_norm, release.scale)
    users = max(float(users), 1.0)
    value = float(scored) / users
    deviation = noise_deviation(release, len(total.survivors))
    error = deviation * math.sqrt(1 + value * value) / users
    return Score(min(max(value, 0.0), 1.0), error)


def finish(state: RunState) -> RunState:
    """The averaged weights in the place of the last ones."""
    flat = optimiser.final_weights(state.optimiser, state.model.flat_weights())
    return replace(state, model=state.model.with_flat_weights(flat))


def learning_rates(state: RunState, plan: Plan) -> NDArray[np.float64]:
    """float64 ``[d]``: the head's rate, and the adapter's for its own coordinates."""
    weights = state.model.weights
    return np.concatenate(
        [
            np.full(
                weights[name].size,
                plan.optimiser.adapter_learning_rate
                if ADAPTER_MARK in name
                else plan.optimiser.learning_rate,
            )
            for name in sorted(weights)
        ]
    )
