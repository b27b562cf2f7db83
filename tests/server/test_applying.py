"""What the coordinator makes of an opened sum."""

from __future__ import annotations

import numpy as np
import pytest

from groundswell.server.applying import read_score
from groundswell.server.unmasking import SecureTotal
from groundswell.shared.plan import EVALUATION, Phase, PlannedRelease

SCALE = 2**16
CLIP = float(np.sqrt(2.0))
RELEASE = PlannedRelease(
    kind=EVALUATION,
    phases=(Phase.EVALUATION,),
    noise_multiplier=5.0,
    sampling_rate=1.0,
    clip_norm=CLIP,
    scale=SCALE,
    dimension=2,
    max_nonzero=2,
    count=1,
    retries=0,
)


def total(scored: float, users: float) -> SecureTotal:
    summed = np.round(np.array([scored, users]) * SCALE / CLIP).astype(np.int64)
    return SecureTotal(1, summed, ("a", "b", "c"), (), 2, {"a": 9, "b": 9, "c": 9}, {})


@pytest.mark.parametrize(("scored", "value"), [(400.0, 0.4), (2500.0, 1.0), (-300.0, 0.0)])
def test_a_score_lies_within_0_and_1_however_loud_the_noise(scored: float, value: float) -> None:
    assert read_score(RELEASE, total(scored, 1000.0)).value == pytest.approx(value, abs=0.01)


def test_the_error_falls_with_the_number_of_users() -> None:
    few, many = (read_score(RELEASE, total(0.4 * n, n)).se for n in (100.0, 1000.0))
    assert few == pytest.approx(10 * many, rel=0.01)
