"""The pace of the relay's polls."""

from __future__ import annotations

from groundswell.client.warm_relay import Pace, PromptTime


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_waits_grow_with_the_idle_time_and_stay_within_their_bounds() -> None:
    clock = Clock()
    pace = Pace(0.1, 3.0, share=0.05, clock=clock)
    assert pace.wait() == 0.1
    clock.now = 20.0
    assert pace.wait() == 1.0
    clock.now = 1_000.0
    assert pace.wait() == 3.0
    pace.restart()
    assert pace.wait() == 0.1


def test_an_hour_of_idling_costs_few_polls() -> None:
    clock = Clock()
    pace = Pace(0.05, 3.0, clock=clock)
    polls = 0
    while clock.now < 3_600:
        clock.now += pace.wait()
        polls += 1
    assert polls < 1_400


def test_flowers_sleeps_never_become_longer_and_start_short_after_a_change() -> None:
    slept: list[float] = []
    prompt = PromptTime(slept.append)
    for seconds in (3, 3, 0.5, 0.5, 3):
        prompt.sleep(seconds)
    assert len(slept) == 5
    assert all(0 < each <= 0.1 for each in slept)
