from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from groundswell.client.mechanism import gaussian_noise
from groundswell.simulation.seeded import NoNoise, SeededRandomness


@given(
    seed=st.one_of(st.integers(), st.binary()), first=st.integers(0, 50), then=st.integers(0, 50)
)
def test_the_same_seed_and_labels_give_one_stream(seed: int | bytes, first: int, then: int) -> None:
    split = SeededRandomness(seed, "noise", 3)
    words = np.concatenate([split.words(first), split.words(then)])
    assert words.tolist() == SeededRandomness(seed, "noise", 3).words(first + then).tolist()


def test_different_seeds_and_labels_give_different_streams() -> None:
    streams = [
        SeededRandomness(1),
        SeededRandomness(2),
        SeededRandomness(b"1"),
        SeededRandomness(1, "1"),
        SeededRandomness(1, 1),
        SeededRandomness(1, "a", "b"),
        SeededRandomness(1, "ab"),
        SeededRandomness(1, "b", "a"),
    ]
    words = {tuple(stream.words(4).tolist()) for stream in streams}
    assert len(words) == len(streams)


def test_no_noise_is_exactly_zero_at_the_largest_standard_deviation() -> None:
    assert not gaussian_noise(1001, 1e7, NoNoise()).any()


def test_a_generator_from_the_stream_is_repeatable() -> None:
    first = SeededRandomness(9, "data").generator().normal(size=5)
    assert first.tolist() == SeededRandomness(9, "data").generator().normal(size=5).tolist()
