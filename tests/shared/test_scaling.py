from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from groundswell.shared.errors import InputError
from groundswell.shared.scaling import LARGEST_SCALE, decode, scale


@given(sigma=st.floats(1e-4, 1e3), nonzero=st.integers(1, 10**7))
def test_scale_is_the_least_power_of_two_that_bounds_rounding_and_fills_the_noise_range(
    sigma: float, nonzero: int
) -> None:
    try:
        delta = scale(sigma, nonzero)
    except InputError:
        assert 1000 * math.sqrt(nonzero) * sigma > 1e7 / 2
        return
    assert delta & (delta - 1) == 0
    assert 1e4 <= sigma * delta <= 1e7
    # |v| <= .999 Delta + sqrt(m) has to stay within Delta
    assert delta * delta >= 1_000_000 * nonzero
    half = delta // 2
    assert half * half < 1_000_000 * nonzero or half * sigma < 1e4


@given(sigma=st.floats(0.05, 20), nonzero=st.integers(1, 20_000))
def test_scale_follows_the_formula_of_the_design(sigma: float, nonzero: int) -> None:
    expected = 2 ** math.ceil(math.log2(max(1000 * math.sqrt(nonzero), 1e4 / sigma)))
    assert scale(sigma, nonzero) == expected


@pytest.mark.parametrize(
    ("sigma", "nonzero"),
    [(0.0, 10), (-1.0, 10), (math.nan, 10), (math.inf, 10), (1.0, 0), (100.0, 10**8), (1e-9, 10)],
)
def test_scale_refuses_what_leaves_the_noise_range_and_names_the_remedy(
    sigma: float, nonzero: int
) -> None:
    with pytest.raises(InputError) as caught:
        scale(sigma, nonzero)
    assert caught.value.remedy
    assert caught.value.key in ("noise_multiplier", "max_nonzero")


def test_largest_scale_lets_four_billion_users_be_summed_in_int64() -> None:
    assert LARGEST_SCALE * 2**32 < 2**63


def test_decode_undoes_the_scaling_of_a_full_length_vector() -> None:
    total = np.array([0.999 * 4096, -0.999 * 2048]).round().astype(np.int64)
    np.testing.assert_allclose(decode(total, 3.0, 4096), [3.0, -1.5], rtol=1e-3)
