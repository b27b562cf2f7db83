"""A rehearsal federation for the audit: real mechanism and accounting, invented users, no network.

Each site trains a softmax regression by DP-FedSGD exactly as in design section 3: Poisson sample,
clip, integers per user, rounded Gaussian noise. The auditor sees what tier C sees, with ``c``
colluding sites on its side, and plants canaries at the honest sites.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from groundswell.client.mechanism import (
    Randomness,
    clip_and_round,
    gaussian_noise,
    rounding_keys,
    scale,
)
from groundswell.client.sampling import poisson_sample
from groundswell.shared.accounting import central_multiplier, reported_epsilon
from groundswell.shared.scaling import decode
from groundswell.simulation.audit import (
    CANARIES,
    Auditor,
    AuditReport,
    Canaries,
    Claim,
    membership_auc,
)
from groundswell.simulation.seeded import NoNoise, SeededRandomness

# A canary's gradient is far beyond the clip norm, so that a missing clip shows as well.
CANARY_LENGTH = 100.0

ClipAndRound = Callable[[NDArray[np.float64], float, int, int, list[bytes], str], NDArray[np.int64]]
NoiseSource = Callable[[int, int], Randomness]


@dataclass(frozen=True)
class Rehearsal:
    """Size of the rehearsal; the default's claim is eps_C = 3 (design section 2, training alone).

    Attributes:
        noise_multiplier: sigma_L.
        features, labels: of the regression; their product is the released dimension.
        users: ordinary users of one site; as many again are held out to compare losses with.
    """

    sites: int = 8
    colluders: int = 1
    rounds: int = 30
    sampling_rate: float = 0.5
    noise_multiplier: float = 1.678
    delta: float = 1e-6
    clip_norm: float = 1.0
    features: int = 100
    labels: int = 40
    users: int = 60
    learning_rate: float = 2.0

    @property
    def dimension(self) -> int:
        return self.features * self.labels

    @property
    def scale(self) -> int:
        return scale(self.noise_multiplier, self.dimension)

    def claim(self) -> Claim:
        """What the run claims towards tier C, from the accountant."""
        honest = self.sites - self.colluders
        sigma = central_multiplier(self.noise_multiplier, honest, self.scale)
        epsilon = reported_epsilon([(sigma, self.sampling_rate, self.rounds)], self.delta)
        return Claim(epsilon, self.delta, self.sampling_rate, sigma * self.scale)


@dataclass(frozen=True)
class _Site:
    """One site's users: features ``[N, F]``, labels ``[N]``, and which canaries it holds."""

    features: NDArray[np.float64]
    labels: NDArray[np.int64]
    canaries: NDArray[np.int64]
    honest: bool

    @property
    def names(self) -> list[str]:
        ordinary = [f"user-{i}" for i in range(len(self.labels))]
        return ordinary + [f"canary-{i}" for i in self.canaries]


def rehearse(
    rehearsal: Rehearsal,
    seed: int,
    *,
    broken: str | None = None,
    mechanism: ClipAndRound = clip_and_round,
    noise_share: float = 1.0,
) -> AuditReport:
    """Run the rehearsal and audit it; the same arguments give the same report.

    Args:
        seed: of users, canaries, samples and noise.
        broken: ``noise`` leaves the noise out while the claim stays, to see that it is caught.
        mechanism: what stands for clip and round; tests put mutants here.
        noise_share: standard deviation really used, over the claimed one; for tests.
    """
    generator = SeededRandomness(seed, "users").generator()
    canaries = Canaries.draw(generator, rehearsal.dimension, CANARIES)
    teacher = generator.normal(size=(rehearsal.features, rehearsal.labels)) * 2
    sites = [
        _draw_site(rehearsal, generator, teacher, _held(canaries, rehearsal, site), site)
        for site in range(rehearsal.sites)
    ]
    held_out = _draw_users(generator, teacher, rehearsal.users * rehearsal.sites)
    auditor = Auditor(canaries, rehearsal.claim())
    weights = np.zeros((rehearsal.features, rehearsal.labels))
    declared = sum(len(site.names) for site in sites)
    for round_number in range(rehearsal.rounds):
        total = np.zeros(rehearsal.dimension, dtype=np.int64)
        others, planted = np.zeros_like(total), np.zeros_like(total)
        for number, site in enumerate(sites):
            labels = (number, round_number)
            noise: Randomness = (
                NoNoise() if broken == "noise" else SeededRandomness(seed, "noise", *labels)
            )
            ordinary, canary = _contribute(
                rehearsal, site, canaries, weights, mechanism, (seed, *labels)
            )
            deviation = rehearsal.noise_multiplier * rehearsal.scale * noise_share
            drawn = gaussian_noise(rehearsal.dimension, deviation, noise)
            total += ordinary + canary + drawn
            planted += canary
            others += ordinary if site.honest else ordinary + drawn
        auditor.observe(total, others, planted)
        step = decode(total, rehearsal.clip_norm, rehearsal.scale)
        step *= rehearsal.learning_rate / (rehearsal.sampling_rate * declared)
        weights -= step.reshape(weights.shape)
    members = np.concatenate([_losses(weights, site.features, site.labels) for site in sites])
    return auditor.report(membership_auc(members, _losses(weights, *held_out)))


def _held(canaries: Canaries, rehearsal: Rehearsal, site: int) -> NDArray[np.int64]:
    """Included canaries of one site; the colluders, who come last, hold none."""
    honest = rehearsal.sites - rehearsal.colluders
    index = np.flatnonzero(canaries.included).astype(np.int64)
    held: NDArray[np.int64] = index[index % honest == site]
    return held


def _draw_users(
    generator: np.random.Generator, teacher: NDArray[np.float64], count: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """``count`` users: unit features ``[count, F]`` and labels ``[count]`` of a noisy teacher."""
    features = generator.normal(size=(count, teacher.shape[0]))
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    scores = features @ teacher + generator.gumbel(size=(count, teacher.shape[1]))
    return features, scores.argmax(axis=1).astype(np.int64)


def _draw_site(
    rehearsal: Rehearsal,
    generator: np.random.Generator,
    teacher: NDArray[np.float64],
    canaries: NDArray[np.int64],
    number: int,
) -> _Site:
    features, labels = _draw_users(generator, teacher, rehearsal.users)
    return _Site(features, labels, canaries, number < rehearsal.sites - rehearsal.colluders)


def _contribute(
    rehearsal: Rehearsal,
    site: _Site,
    canaries: Canaries,
    weights: NDArray[np.float64],
    mechanism: ClipAndRound,
    labels: tuple[int, int, int],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """One site's sums of ordinary users' and of canaries' integer vectors, each int64 ``[d]``."""
    names = site.names
    sampled = poisson_sample(
        len(names), rehearsal.sampling_rate, SeededRandomness(labels[0], "sample", *labels[1:])
    )
    ordinary = np.flatnonzero(sampled[: len(site.labels)])
    planted = site.canaries[sampled[len(site.labels) :]]
    vectors = np.concatenate(
        [
            _gradients(weights, site.features[ordinary], site.labels[ordinary]),
            canaries.directions[planted] * (CANARY_LENGTH * rehearsal.clip_norm),
        ]
    )
    secret = SeededRandomness(labels[0], "rounding", *labels[1:]).words(4).tobytes()
    keys = rounding_keys(secret, [names[i] for i in np.flatnonzero(sampled)])
    rounded = mechanism(
        vectors, rehearsal.clip_norm, rehearsal.scale, rehearsal.dimension, keys, "flat"
    )
    return rounded[: len(ordinary)].sum(axis=0), rounded[len(ordinary) :].sum(axis=0)


def _probabilities(
    weights: NDArray[np.float64], features: NDArray[np.float64]
) -> NDArray[np.float64]:
    scores: NDArray[np.float64] = features @ weights
    scores -= scores.max(axis=1, keepdims=True)
    scores = np.exp(scores)
    scores /= scores.sum(axis=1, keepdims=True)
    return scores


def _gradients(
    weights: NDArray[np.float64], features: NDArray[np.float64], labels: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Each user's gradient of the cross-entropy, float64 ``[U, F * L]``."""
    residual = _probabilities(weights, features)
    residual[np.arange(len(labels)), labels] -= 1
    return (features[:, :, None] * residual[:, None, :]).reshape(len(labels), weights.size)


def _losses(
    weights: NDArray[np.float64], features: NDArray[np.float64], labels: NDArray[np.int64]
) -> NDArray[np.float64]:
    chosen = _probabilities(weights, features)[np.arange(len(labels)), labels]
    return -np.log(chosen)
