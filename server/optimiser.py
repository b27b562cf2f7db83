"""The server's step on an already released, noisy mean gradient: free post-processing.

Each optimiser is a pair of pure functions over an explicit, checkpointable state. Vectors are flat
float64 arrays of the trainable coordinates, in the order of their sorted names.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from groundswell.shared.plan import OptimiserPlan

Vector = NDArray[np.float64]
_EPSILON = 1e-12


@dataclass(frozen=True)
class OptimiserState:
    """What one step hands to the next.

    Attributes:
        step: rounds applied so far.
        first: decayed mean of gradients, ``[d]``.
        second: decayed mean of squared gradients, ``[d]``.
        bias: decayed mean of the known noise variance Phi (DP-AdamBC), a scalar.
        average: running mean of the weights of the last part of the run, ``[d]``.
        averaged: how many steps ``average`` holds.
    """

    step: int
    first: Vector
    second: Vector
    bias: float
    average: Vector
    averaged: int


def initial_state(dimension: int) -> OptimiserState:
    """The state before the first round."""
    zeros = np.zeros(dimension)
    return OptimiserState(0, zeros, zeros, 0.0, zeros, 0)


def learning_rate_factor(plan: OptimiserPlan, step: int, rounds: int) -> float:
    """Cosine decay from 1 to 0 over the run's rounds, or 1 throughout."""
    if not plan.cosine or rounds <= 1:
        return 1.0
    return 0.5 * (1.0 + math.cos(math.pi * (step - 1) / rounds))


def update(
    plan: OptimiserPlan,
    state: OptimiserState,
    weights: Vector,
    gradient: Vector,
    rates: Vector,
    noise_variance: float,
    rounds: int,
) -> tuple[Vector, OptimiserState]:
    """One step of gradient descent on the released mean gradient.

    Args:
        weights: current trainable weights, ``[d]``.
        gradient: the released mean gradient, ``[d]``.
        rates: learning rate of each coordinate before decay, ``[d]``.
        noise_variance: Phi, the known variance of the noise in each coordinate of ``gradient``
            (DP-AdamBC, arXiv 2312.14334, equation 4); 0 without privacy.
        rounds: planned rounds, for the decay and the averaging window.

    Returns:
        New weights and state. Weight decay and L1 are decoupled from the gradient (AdamW): they
        use the weights alone, so they cost no privacy.
    """
    step = state.step + 1
    first = plan.momentum * state.first + (1 - plan.momentum) * gradient
    second = plan.beta2 * state.second + (1 - plan.beta2) * gradient**2
    bias = plan.beta2 * state.bias + (1 - plan.beta2) * noise_variance
    rate = rates * learning_rate_factor(plan, step, rounds)
    mean = first / (1 - plan.momentum**step)
    if plan.name == "momentum":
        moved = weights - rate * mean
    else:
        correction = 1 - plan.beta2**step
        power = second / correction
        if plan.name == "dp_adam_bc":
            # Where the noise explains all of the power, the floor keeps the step bounded: it is
            # the noise's own standard deviation over the first moment's averaging window.
            floor = max((1 - plan.momentum) * bias / correction, _EPSILON)
            power = np.maximum(power - bias / correction, floor)
        moved = weights - rate * mean / (np.sqrt(power) + 1e-8)
    moved = moved - rate * plan.weight_decay * weights
    if plan.l1:
        moved = np.sign(moved) * np.maximum(np.abs(moved) - rate * plan.l1, 0.0)
    averaged, average = state.averaged, state.average
    if step > plan.average_from * rounds:
        averaged += 1
        average = average + (moved - average) / averaged
    return moved, replace(
        state,
        step=step,
        first=first,
        second=second,
        bias=bias,
        average=average,
        averaged=averaged,
    )


def final_weights(state: OptimiserState, weights: Vector) -> Vector:
    """The averaged weights where averaging has begun, else the last ones."""
    return state.average if state.averaged else weights
