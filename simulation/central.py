"""The same model trained in one place without privacy: what the federation is measured against.

It works off the same plan with the same jobs on all users pooled, but adds real vectors, unclipped,
and no noise.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from groundswell.client.contributions import Workplace
from groundswell.server import optimiser
from groundswell.server.applying import Surroundings, finish, learning_rates
from groundswell.server.checkpointing import RunState
from groundswell.server.schedule import Step, schedule
from groundswell.shared.plan import GRADIENT, Phase, Plan
from groundswell.shared.statistics import statistic_of
from groundswell.shared.transfer import ModelState
from groundswell.simulation.seeded import SeededRandomness

# Shrinkage divides by the noise's deviation; a thousandth of a user stands for none.
NEARLY_NOISELESS = 1e-3


def train_centrally(
    workplace: Workplace, plan: Plan, around: Surroundings, seed: int
) -> ModelState:
    """The model after all rounds and the refresh.

    Args:
        workplace: all users pooled, under the same plan.
        seed: of samples and examples.
    """
    state = RunState.begin(ModelState(workplace.weights, {}))
    for step in schedule(plan):
        if step.phase is not Phase.EVALUATION:
            state = _step(workplace, plan, around, state, step, seed)
    return state.model


def _step(
    workplace: Workplace,
    plan: Plan,
    around: Surroundings,
    state: RunState,
    step: Step,
    seed: int,
) -> RunState:
    release = plan.release(step.kind)
    if release is None:
        raise KeyError(step.kind)
    job = workplace.job(release, step.round, state.model)
    words = SeededRandomness(seed, "central", step.kind, step.round)
    rows = np.flatnonzero(words.generator().random(job.users) < release.sampling_rate)
    total = job.real_sum(rows, words.words(4).tobytes())
    if step.kind != GRADIENT:
        released = statistic_of(step.kind, release.actions, plan.kinds).estimate(
            total,
            float(job.users),
            NEARLY_NOISELESS,
            around.catalogue,
            state.model.statistics,
            around.label_embeddings,
        )
        return replace(state, model=state.model.with_statistics(released))
    weights, moved = optimiser.update(
        plan.optimiser,
        state.optimiser,
        state.model.flat_weights(),
        total / (release.sampling_rate * job.users),
        learning_rates(state, plan),
        0.0,
        plan.rounds,
    )
    state = replace(state, model=state.model.with_flat_weights(weights), optimiser=moved)
    return finish(state) if step.round == plan.rounds else state
