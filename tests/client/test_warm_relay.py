"""The pace of the relay's polls."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import pytest

from groundswell.client.warm_relay import Pace, PromptTime, giving_up


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


def test_a_reply_that_a_killed_relay_announced_is_given_up_and_a_slow_one_is_not() -> None:
    clock = Clock()

    def wait(seconds: float) -> None:
        clock.now += seconds

    prompt = PromptTime(wait, clock)

    def contents(seconds: float) -> Iterator[tuple[str, bytes]]:
        for number in range(3):
            until = clock.now + seconds
            while clock.now < until:
                prompt.sleep(0.5)
            yield str(number), b"content"

    def push(objects: Iterable[tuple[str, bytes]], push_object_fn: Callable[..., None]) -> None:
        for each in objects:
            push_object_fn(*each)

    pushed: list[str] = []

    def note(name: str, content: bytes) -> None:
        pushed.append(name)

    patient = giving_up(push, prompt)
    patient(contents(20.0), push_object_fn=note)
    assert pushed == ["0", "1", "2"]
    with pytest.raises(TimeoutError):
        patient(contents(1e9), push_object_fn=note)
    assert pushed == ["0", "1", "2"]
    # Waiting for the relay to answer, in the same loop of Flower's, has no such end.
    clock.now += 3_600.0
    prompt.sleep(0.5)
