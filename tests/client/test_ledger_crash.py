"""kill -9 at every statement that the ledger sends to its file: the spend never falls."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from groundswell.client.attempt import Admission, Unmasking
from groundswell.client.ledger import Ledger, verify
from groundswell.client.policy import SitePolicy
from groundswell.shared.identity import SigningKey
from groundswell.shared.plan import Plan

SITES = tuple(f"site-{number}" for number in range(1, 9))
TIMES_THAT_A_PROCESS_MAY_DIE = 100


def one_attempt(ledger: Ledger, plan: Plan, seq: int, deadly: int, pipe: int) -> None:
    """One attempt in a process that kills itself at the statement number ``deadly``.

    After each step it says so, as a vault would then let the world see its effect.
    """
    seen = 0

    def trace(statement: str) -> None:
        nonlocal seen
        if seen == deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        seen += 1

    ledger._file._connection.set_trace_callback(trace)
    ledger.reserve(plan, plan.releases[1], Admission(seq, "gradient", seq, bytes(32), SITES, 7, {}))
    os.write(pipe, b"reserved ")
    ledger.sent(seq)
    os.write(pipe, b"sent ")
    ledger.closed(Unmasking(seq, SITES, 7, (), b""))
    os.write(pipe, b"closed ")


def dies_at(
    path: Path, key: SigningKey, policy: SitePolicy, plan: Plan, seq: int, deadly: int
) -> tuple[bool, list[str]]:
    """Whether a process of its own was killed, and the steps that it told of before."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            one_attempt(Ledger.open(path, key, policy), plan, seq, deadly, write)
            status = 0
        finally:
            os._exit(status)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        steps = pipe.read().decode().split()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True, steps
    assert os.WEXITSTATUS(status) == 0
    return False, steps


def test_a_kill_at_any_statement_never_lowers_the_spend(
    tmp_path: Path, plan: Plan, key: SigningKey
) -> None:
    path = tmp_path / "ledger.sqlite"
    policy = SitePolicy.for_plan(plan, runs=20)
    policy.check_menu()
    Ledger.create(path, key, "site-1", policy).close()
    epsilon, events, last = 0.0, 0, set[str]()
    for deadly in range(TIMES_THAT_A_PROCESS_MAY_DIE):
        seq = deadly + 1
        # A run of its own for each attempt: the plan's own limits are not what is tested here.
        own = plan.model_copy(update={"run": f"{seq:032x}"})
        killed, steps = dies_at(path, key, policy, own, seq, deadly)
        assert verify(path, key.public).problems == ()
        ledger = Ledger.open(path, key, policy)
        spent = ledger.spend()
        # Whatever was told to anybody had been charged by then.
        assert spent.events >= events + ("reserved" in steps)
        assert spent.local.epsilon >= epsilon
        assert (seq in ledger._state.sent) >= ("sent" in steps)
        assert (seq in ledger._state.closed) >= ("closed" in steps)
        assert spent.central.epsilon <= spent.reserved.epsilon
        epsilon, events = spent.local.epsilon, spent.events
        ledger.close()
        if not killed:
            assert steps == ["reserved", "sent", "closed"]
            break
        last |= set(steps)
    else:
        pytest.fail("the process never came to its end")
    assert last == {"reserved", "sent"}, "a kill fell into each stage"
    assert deadly >= 12


def test_an_attempt_that_a_crash_cut_short_stays_spent_and_is_not_answered_again(
    tmp_path: Path,
    plan: Plan,
    policy: SitePolicy,
    key: SigningKey,
    admit: Callable[..., Admission],
) -> None:
    path = tmp_path / "ledger.sqlite"
    policy.check_menu()
    Ledger.create(path, key, "site-1", policy).close()
    # Four statements for the window, four for the reserve, then those of `sent`.
    killed, steps = dies_at(path, key, policy, plan, 1, 9)
    assert killed
    assert steps == ["reserved"]
    ledger = Ledger.open(path, key, policy)
    assert ledger.used() == {"gradient": 1}
    assert ledger.spend().central == ledger.spend().reserved
    assert ledger.highest_seq == 1
    ledger.reserve(plan, plan.releases[1], admit(2))
    assert ledger.used() == {"gradient": 2}
    ledger.close()
