"""Does the privacy that is claimed hold on what was really released? Pure functions, no I/O.

Three looks at the same run, each of rehearsal data only:

1. Release self-test: the unmasked sum less the known sum of the users' vectors must have the
   variance of the claimed noise, and no round may repeat another's noise.
2. One-run canary audit (Steinke, Nasr, Jagielski 2023, arXiv 2305.08846, the (eps, delta) theorem
   and appendix D) with random-direction canaries (Andrew et al. 2023, arXiv 2302.03098). The
   auditor knows, and subtracts, all that is not a canary. Canaries and guesses are fixed
   beforehand, so that one run gives one valid bound.
3. Membership by loss: the area under the curve, informational, no bound follows from it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtrc
from scipy.stats import binom, rankdata

from groundswell.shared.errors import InputError

CANARIES = 400
GUESSES = 200
CONFIDENCE = 0.95
LEAST_DIMENSION = 4000
LEAST_RATE = 0.5

# In standard errors. A false alarm has probability 7e-6 on one side; noise at .95 of its claim is
# seen beyond doubt from 12,000 coordinates on: (4.5 + 3) sqrt(2 / 12,000) < 1 - .95^2.
NOISE_ALARM = 4.5
LEAST_COORDINATES = 12_000
REPEAT_ALARM = 6.0

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]


def p_value(canaries: int, guesses: int, correct: int, epsilon: float, delta: float) -> float:
    """Largest probability of that many correct guesses against any (epsilon, delta)-DP run.

    Args:
        canaries: m, each included by a fair coin of its own.
        guesses: r <= m, the canaries guessed; the others are abstained from.
        correct: v <= r.
    """
    accuracy = 1 / (1 + math.exp(-epsilon))
    at_least = 1.0 if correct == 0 else float(bdtrc(correct - 1, guesses, accuracy))
    if delta == 0 or correct == 0:
        return min(1.0, at_least)
    # alpha = max over i of P(v > Binomial(r, accuracy) >= v - i) / i
    below = np.cumsum(binom.pmf(np.arange(correct - 1, -1, -1), guesses, accuracy))
    alpha = float(np.max(below / np.arange(1, correct + 1)))
    return min(1.0, at_least + 2 * canaries * delta * alpha)


def epsilon_lower_bound(
    canaries: int, guesses: int, correct: int, delta: float, confidence: float = CONFIDENCE
) -> float:
    """The largest epsilon that the guesses refute at the given confidence; 0 if none."""
    level = 1 - confidence
    if p_value(canaries, guesses, correct, 0.0, delta) >= level:
        return 0.0
    low, high = 0.0, 1.0
    while p_value(canaries, guesses, correct, high, delta) < level:
        low, high = high, 2 * high
    for _ in range(50):
        middle = (low + high) / 2
        if p_value(canaries, guesses, correct, middle, delta) < level:
            low = middle
        else:
            high = middle
    return low


def ceiling(
    delta: float,
    canaries: int = CANARIES,
    guesses: int = GUESSES,
    confidence: float = CONFIDENCE,
) -> float:
    """The largest bound that can be proved with so many canaries: that of perfect guesses."""
    return epsilon_lower_bound(canaries, guesses, guesses, delta, confidence)


def correct_guesses(scores: Floats, included: NDArray[np.bool_], guesses: int = GUESSES) -> int:
    """Guess "in" for the highest half of the guesses, "out" for the lowest half; count the hits.

    Args:
        scores: float64 ``[m]``, one per canary, higher for included ones.
        included: bool ``[m]``, the coins.
        guesses: r, even, fixed before the run.
    """
    if guesses % 2 or not 0 < guesses <= len(scores):
        raise InputError("guesses", guesses, "must be even and at most the canaries", "use 200")
    order = np.argsort(scores, kind="stable")
    half = guesses // 2
    return int((~included[order[:half]]).sum() + included[order[-half:]].sum())


def membership_auc(members: Floats, others: Floats) -> float:
    """Area under the curve of telling members by a lower loss; .5 is chance, ties count half.

    Args:
        members: losses of users that were trained on.
        others: losses of users that were not.
    """
    ranks = rankdata(np.concatenate([members, others]))
    wins = ranks[len(members) :].sum() - len(others) * (len(others) + 1) / 2
    return float(wins / (len(members) * len(others)))


@dataclass(frozen=True)
class Canaries:
    """Users invented by the auditor.

    Attributes:
        directions: float32 ``[m, d]``, unit rows, nearly orthogonal as they are random.
        included: bool ``[m]``, a fair coin each: whether the canary is a user at all.
    """

    directions: NDArray[np.float32]
    included: NDArray[np.bool_]

    @classmethod
    def draw(
        cls, generator: np.random.Generator, dimension: int, count: int = CANARIES
    ) -> Canaries:
        """Raises ``InputError`` where the dimension is too small for nearly orthogonal canaries."""
        if dimension < LEAST_DIMENSION:
            raise InputError(
                "dimension", dimension, f"must be at least {LEAST_DIMENSION}", "audit a wider model"
            )
        directions = generator.standard_normal((count, dimension), dtype=np.float32)
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        return cls(directions, generator.random(count) < 0.5)


@dataclass(frozen=True)
class Claim:
    """What the run says of itself.

    Attributes:
        epsilon: of all audited releases together.
        delta: the same run's.
        sampling_rate: q of the rounds.
        standard_deviation: of the integer noise in what the auditor sees of one release.
    """

    epsilon: float
    delta: float
    sampling_rate: float
    standard_deviation: float


@dataclass(frozen=True)
class AuditReport:
    """The audit's figures; ``caught`` is true when something is not as claimed."""

    claimed_epsilon: float
    epsilon_lower_bound: float
    ceiling: float
    noise_ratio: float
    caught: bool
    reasons: tuple[str, ...]
    testable: bool
    delta: float
    canaries: int
    guesses: int
    correct: int
    confidence: float
    releases: int
    coordinates: int
    membership_auc: float | None = None

    @property
    def line(self) -> str:
        text = (
            f"claimed eps {self.claimed_epsilon:.2f}; eps >= {self.epsilon_lower_bound:.2f} at "
            f"{100 * self.confidence:.0f} %; ceiling {self.ceiling:.2f}"
        )
        return text if self.testable else f"{text}; not testable, the claim is above the ceiling"


class Auditor:
    """Collects one run's releases and judges them against its claim."""

    def __init__(self, canaries: Canaries, claim: Claim, guesses: int = GUESSES) -> None:
        if claim.sampling_rate < LEAST_RATE:
            raise InputError(
                "sampling_rate",
                claim.sampling_rate,
                f"the canary audit has no power below {LEAST_RATE}",
                "audit a plan with a higher rate",
            )
        self._canaries = canaries
        self._claim = claim
        self._guesses = guesses
        self._scores = np.zeros(len(canaries.included))
        self._squares = 0.0
        self._coordinates = 0
        self._releases = 0
        self._last: Floats | None = None
        self._worst_repeat = 0.0

    def observe(self, total: Integers, others: Integers, canaries: Integers) -> None:
        """Take in one release.

        Args:
            total: int64 ``[d]``, what was released.
            others: int64 ``[d]``, all of it that the auditor knows and that is not a canary: the
                other users' vectors and, whole, what colluding sites sent.
            canaries: int64 ``[d]``, the canaries' own sum. Only the self-test uses it.
        """
        unknown = total - others
        self._scores += self._canaries.directions @ unknown.astype(np.float64)
        noise = (unknown - canaries).astype(np.float64)
        self._squares += float(noise @ noise)
        self._coordinates += len(noise)
        self._releases += 1
        self._worst_repeat = max(self._worst_repeat, _likeness(noise, self._last))
        self._last = noise

    def report(self, auc: float | None = None) -> AuditReport:
        """Judge what was observed; ``auc`` is passed through from ``membership_auc``."""
        if self._coordinates < LEAST_COORDINATES:
            raise InputError(
                "rounds",
                self._releases,
                f"the self-test needs {LEAST_COORDINATES} released coordinates",
                "audit more rounds",
            )
        claim, m = self._claim, len(self._scores)
        variance = self._squares / (self._coordinates * claim.standard_deviation**2)
        errors = (variance - 1) / math.sqrt(2 / self._coordinates)
        correct = correct_guesses(self._scores, self._canaries.included, self._guesses)
        bound = epsilon_lower_bound(m, self._guesses, correct, claim.delta)
        top = ceiling(claim.delta, m, self._guesses)
        reasons = []
        if abs(errors) > NOISE_ALARM:
            reasons.append(f"noise is {math.sqrt(variance):.3f} of what is claimed")
        if self._worst_repeat > REPEAT_ALARM:
            reasons.append("noise repeats from one release to the next")
        if bound > claim.epsilon:
            reasons.append(f"epsilon is at least {bound:.2f}, above the claim {claim.epsilon:.2f}")
        return AuditReport(
            claimed_epsilon=claim.epsilon,
            epsilon_lower_bound=bound,
            ceiling=top,
            noise_ratio=math.sqrt(variance),
            caught=bool(reasons),
            reasons=tuple(reasons),
            testable=claim.epsilon <= top,
            delta=claim.delta,
            canaries=m,
            guesses=self._guesses,
            correct=correct,
            confidence=CONFIDENCE,
            releases=self._releases,
            coordinates=self._coordinates,
            membership_auc=auc,
        )


def _likeness(noise: Floats, last: Floats | None) -> float:
    """Correlation of two releases' noise in standard errors; 0 without anything to compare."""
    if last is None or len(last) != len(noise):
        return 0.0
    lengths = math.sqrt(float(noise @ noise) * float(last @ last))
    return abs(float(noise @ last)) / lengths * math.sqrt(len(noise)) if lengths else 0.0
