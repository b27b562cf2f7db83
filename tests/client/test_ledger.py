"""The ledger charges before anything happens, and refuses what is not paid for."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from groundswell.client.attempt import Admission, Unmasking
from groundswell.client.ledger import DAY, Ledger, verify
from groundswell.client.policy import SitePolicy
from groundswell.shared.accounting import central_multiplier, reported_epsilon
from groundswell.shared.errors import LedgerError, Refusal
from groundswell.shared.identity import SigningKey
from groundswell.shared.plan import Plan, PlannedRelease
from groundswell.shared.roster import Head

Admit = Callable[..., Admission]
Unmask = Callable[..., Unmasking]


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1_750_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite"


@pytest.fixture
def ledger(path: Path, key: SigningKey, policy: SitePolicy, clock: Clock) -> Iterator[Ledger]:
    ledger = Ledger.create(path, key, "site-1", policy, clock=clock)
    yield ledger
    ledger.close()


def release_of(plan: Plan, kind: str = "gradient") -> PlannedRelease:
    release = plan.release(kind)
    assert release is not None
    return release


def run_all(ledger: Ledger, plan: Plan, admit: Admit, unmask: Unmask, survivors: int = 8) -> None:
    """One whole run: a statistic, six rounds, the refresh, an evaluation."""
    kinds = ["popularity", *["gradient"] * 6, "popularity", "evaluation"]
    for seq, kind in enumerate(kinds, 1):
        ledger.reserve(plan, release_of(plan, kind), admit(seq, kind))
        ledger.sent(seq)
        ledger.closed(unmask(seq, survivors))


def refusal(act: Callable[[], object]) -> str:
    with pytest.raises(Refusal) as caught:
        act()
    return caught.value.code


# --- spending ------------------------------------------------------------------------------------


def test_an_empty_ledger_has_spent_nothing(ledger: Ledger) -> None:
    assert ledger.spend().local.epsilon == 0
    assert ledger.spend().central.epsilon == 0
    assert ledger.head().row == 1
    assert ledger.used() == {}


def test_reserved_counts_as_spent_at_n_min_less_c(ledger: Ledger, plan: Plan, admit: Admit) -> None:
    release = release_of(plan)
    ledger.reserve(plan, release, admit(1))
    sigma, q = release.noise_multiplier, release.sampling_rate
    five = central_multiplier(sigma, 5, release.scale)
    found = ledger.spend()
    assert found.local.epsilon == reported_epsilon([(sigma, q, 1)], 1e-6)
    assert found.central.epsilon == reported_epsilon([(five, q, 1)], 1e-6)
    assert found.reserved == found.central
    ledger.sent(1)
    assert ledger.spend() == found


def test_closing_rests_the_central_charge_on_survivors_less_c(
    ledger: Ledger, plan: Plan, admit: Admit, unmask: Unmask
) -> None:
    release = release_of(plan)
    ledger.reserve(plan, release, admit(1))
    ledger.sent(1)
    before = ledger.spend()
    ledger.closed(unmask(1, 8))
    after = ledger.spend()
    seven = central_multiplier(release.noise_multiplier, 7, release.scale)
    assert after.central.epsilon == reported_epsilon([(seven, release.sampling_rate, 1)], 1e-6)
    assert after.central.epsilon < before.central.epsilon
    assert after.local == before.local
    assert after.reserved == before.reserved


def test_a_whole_run_meets_the_caps_and_survives_a_restart(
    ledger: Ledger,
    plan: Plan,
    policy: SitePolicy,
    key: SigningKey,
    path: Path,
    clock: Clock,
    admit: Admit,
    unmask: Unmask,
) -> None:
    run_all(ledger, plan, admit, unmask)
    found = ledger.spend()
    assert found.events == 9
    assert found.central.epsilon < found.reserved.epsilon <= plan.eps_c
    assert found.local.epsilon <= plan.eps_l
    assert found.central.tpr_at_1pct_fpr < found.local.tpr_at_1pct_fpr
    ledger.close()
    again = Ledger.open(path, key, policy, clock=clock)
    assert again.spend() == found
    assert again.highest_seq == 9
    assert again.used() == {"popularity": 2, "gradient": 6, "evaluation": 1}
    again.close()


def test_overflow_of_slots_joins_delta(ledger: Ledger, plan: Plan, admit: Admit) -> None:
    ledger.reserve(plan, release_of(plan, "popularity"), admit(1, "popularity"))
    assert ledger.spend().local.delta == 1e-6
    ledger.reserve(plan, release_of(plan), admit(2))
    assert 1e-6 < ledger.spend().local.delta < 1e-6 + 1e-15


# --- refusing ------------------------------------------------------------------------------------


def test_what_the_menu_does_not_pay_for_is_refused_and_nothing_is_written(
    ledger: Ledger, plan: Plan, admit: Admit, unmask: Unmask
) -> None:
    run_all(ledger, plan, admit, unmask)
    head = ledger.head()
    # Another run with the same needs, in the same window.
    second = plan.model_copy(update={"run": "cd" * 16})
    evaluation = release_of(second, "evaluation")
    assert refusal(lambda: ledger.reserve(second, evaluation, admit(10, "evaluation"))) == (
        "over-budget"
    )
    assert ledger.head() == head
    # The retry of a round is still paid for, once.
    ledger.reserve(second, release_of(second), admit(11))
    assert refusal(lambda: ledger.reserve(second, release_of(second), admit(12))) == "over-budget"


def test_a_menu_above_its_cap_opens_no_window(
    path: Path, key: SigningKey, policy: SitePolicy, plan: Plan, admit: Admit
) -> None:
    tight = policy.model_copy(update={"eps_c": 1.0})
    ledger = Ledger.create(path, key, "site-1", tight)
    assert refusal(lambda: ledger.reserve(plan, release_of(plan), admit(1))) == "over-budget"
    assert ledger.head().row == 1
    ledger.close()


def test_a_plan_pays_for_its_attempts_and_no_more(ledger: Ledger, plan: Plan, admit: Admit) -> None:
    release = release_of(plan)
    for seq in range(1, 8):
        ledger.reserve(plan, release, admit(seq))
    assert refusal(lambda: ledger.reserve(plan, release, admit(8))) == "too-many-attempts"


def test_a_round_is_retried_twice_at_most(ledger: Ledger, plan: Plan, admit: Admit) -> None:
    release = release_of(plan)
    for seq in (1, 2, 3):
        ledger.reserve(plan, release, admit(seq, round_number=1))
    refused = refusal(lambda: ledger.reserve(plan, release, admit(4, round_number=1)))
    assert refused == "too-many-attempts"
    ledger.reserve(plan, release, admit(4, round_number=2))


@pytest.mark.parametrize("seq", [1, 2])
def test_an_attempt_is_never_reserved_twice(
    seq: int, ledger: Ledger, plan: Plan, admit: Admit
) -> None:
    ledger.reserve(plan, release_of(plan), admit(2))
    assert refusal(lambda: ledger.reserve(plan, release_of(plan), admit(seq))) == "stale-seq"


def test_a_run_keeps_its_plan(ledger: Ledger, plan: Plan, admit: Admit) -> None:
    ledger.reserve(plan, release_of(plan), admit(1))
    other = plan.model_copy(update={"seconds_per_slot": 2.0})
    assert refusal(lambda: ledger.reserve(other, release_of(other), admit(2))) == "plan-changed"


def test_the_ledger_asks_the_policy_itself(ledger: Ledger, plan: Plan, admit: Admit) -> None:
    louder = release_of(plan).model_copy(update={"noise_multiplier": 0.5})
    assert refusal(lambda: ledger.reserve(plan, louder, admit(1))) == "plan-changed"
    wider = plan.model_copy(update={"n_min": 5})
    assert refusal(lambda: ledger.reserve(wider, release_of(wider), admit(1))) == "n-min-too-small"
    assert ledger.head().row == 1


def test_too_few_sites_are_refused(ledger: Ledger, plan: Plan, admit: Admit, path: Path) -> None:
    few = replace(admit(1), honest=4)
    assert refusal(lambda: ledger.reserve(plan, release_of(plan), few)) == "too-few-sites"
    small = replace(admit(1), sharers=("site-1", "site-2"))
    assert refusal(lambda: ledger.reserve(plan, release_of(plan), small)) == "roster-too-small"
    swapped = replace(admit(1), kind="popularity")
    assert refusal(lambda: ledger.reserve(plan, release_of(plan), swapped)) == "plan-changed"


def test_a_wider_policy_waits_for_the_next_window(
    ledger: Ledger,
    plan: Plan,
    policy: SitePolicy,
    key: SigningKey,
    path: Path,
    clock: Clock,
    admit: Admit,
    unmask: Unmask,
) -> None:
    run_all(ledger, plan, admit, unmask)
    spent = ledger.spend()
    ledger.close()
    wider = SitePolicy.for_plan(plan, runs=2)
    second = plan.model_copy(update={"run": "cd" * 16})
    again = Ledger.open(path, key, wider, clock=clock)
    evaluation = release_of(second, "evaluation")
    assert refusal(lambda: again.reserve(second, evaluation, admit(10, "evaluation"))) == (
        "over-budget"
    )
    clock.now += policy.window_days * DAY
    again.reserve(second, evaluation, admit(10, "evaluation"))
    assert again.spend().events == 1
    lifetime = again.spend(lifetime=True)
    assert lifetime.events == 10
    assert lifetime.local.epsilon > spent.local.epsilon
    again.close()


def test_a_narrower_policy_holds_at_once(
    ledger: Ledger,
    plan: Plan,
    policy: SitePolicy,
    key: SigningKey,
    path: Path,
    clock: Clock,
    admit: Admit,
) -> None:
    for seq in (1, 2):
        ledger.reserve(plan, release_of(plan), admit(seq))
    ledger.close()
    menu = tuple(
        entry.model_copy(update={"count": 2}) if entry.kind == "gradient" else entry
        for entry in policy.menu
    )
    again = Ledger.open(path, key, policy.model_copy(update={"menu": menu}), clock=clock)
    assert refusal(lambda: again.reserve(plan, release_of(plan), admit(3))) == "over-budget"
    again.close()


def test_delta_is_fixed_for_the_window(
    ledger: Ledger,
    plan: Plan,
    policy: SitePolicy,
    key: SigningKey,
    path: Path,
    clock: Clock,
    admit: Admit,
) -> None:
    ledger.reserve(plan, release_of(plan), admit(1))
    ledger.close()
    other = plan.model_copy(update={"delta": 1e-5, "run": "cd" * 16})
    again = Ledger.open(path, key, policy.model_copy(update={"delta": 1e-5}), clock=clock)
    assert refusal(lambda: again.reserve(other, release_of(other), admit(2))) == "delta-changed"
    again.close()


def test_a_clock_that_runs_backwards_opens_no_second_window(
    ledger: Ledger, plan: Plan, admit: Admit, clock: Clock, path: Path
) -> None:
    ledger.reserve(plan, release_of(plan), admit(1))
    clock.now -= 10 * 365 * DAY
    ledger.reserve(plan, release_of(plan), admit(2))
    assert ledger.spend().events == 2
    assert verify(path).problems == ()


# --- order of an attempt -------------------------------------------------------------------------


def test_sent_and_closed_want_what_comes_before(
    ledger: Ledger, plan: Plan, admit: Admit, unmask: Unmask
) -> None:
    with pytest.raises(LedgerError, match="never reserved"):
        ledger.sent(1)
    ledger.reserve(plan, release_of(plan), admit(1))
    with pytest.raises(LedgerError, match="was not sent"):
        ledger.closed(unmask(1))


def test_repeats_change_nothing_and_other_survivors_are_refused(
    ledger: Ledger, plan: Plan, admit: Admit, unmask: Unmask
) -> None:
    ledger.reserve(plan, release_of(plan), admit(1))
    ledger.sent(1)
    ledger.sent(1)
    ledger.closed(unmask(1, 7))
    head = ledger.head()
    ledger.closed(unmask(1, 7))
    ledger.sent(1)
    assert ledger.head() == head
    assert refusal(lambda: ledger.closed(unmask(1, 8))) == "conflicting-request"


def test_survivors_must_follow_from_the_sharers(
    ledger: Ledger, plan: Plan, admit: Admit, unmask: Unmask
) -> None:
    ledger.reserve(plan, release_of(plan), admit(1))
    ledger.sent(1)
    for wrong in (
        replace(unmask(1, 6), survivors=("site-1", "elsewhere")),
        replace(unmask(1, 8), honest=8),
        replace(unmask(1, 8), honest=4),
        replace(unmask(1, 6), confirmations=(("site-8", b"signature"),)),
    ):
        with pytest.raises(LedgerError):
            ledger.closed(wrong)
    ledger.closed(unmask(1))


# --- failing closed ------------------------------------------------------------------------------


def test_another_writer_breaks_the_ledger_for_good(
    ledger: Ledger, plan: Plan, policy: SitePolicy, key: SigningKey, path: Path, admit: Admit
) -> None:
    other = Ledger.open(path, key, policy)
    other.reserve(plan, release_of(plan), admit(1))
    with pytest.raises(LedgerError, match="another process"):
        ledger.reserve(plan, release_of(plan), admit(1))
    with pytest.raises(LedgerError):
        ledger.sent(1)
    assert verify(path).problems == ()
    other.close()


def test_a_write_that_fails_charges_or_raises(
    ledger: Ledger, plan: Plan, path: Path, admit: Admit
) -> None:
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("DROP TABLE events")
    with pytest.raises(LedgerError, match="can't be written"):
        ledger.reserve(plan, release_of(plan), admit(1))
    with pytest.raises(LedgerError):
        ledger.reserve(plan, release_of(plan), admit(2))
    holder.close()


def test_a_ledger_is_never_overwritten_or_invented(
    ledger: Ledger, path: Path, key: SigningKey, policy: SitePolicy, tmp_path: Path
) -> None:
    with pytest.raises(LedgerError, match="exists already"):
        Ledger.create(path, key, "site-1", policy)
    with pytest.raises(LedgerError, match="does not exist"):
        Ledger.open(tmp_path / "other.sqlite", key, policy)
    (tmp_path / "text.sqlite").write_text("no database at all, but long enough to be read")
    with pytest.raises(LedgerError):
        Ledger.open(tmp_path / "text.sqlite", key, policy)


def test_the_file_is_the_owners_alone(ledger: Ledger, path: Path) -> None:
    assert path.stat().st_mode & 0o077 == 0


def test_every_write_is_flushed_in_full(ledger: Ledger) -> None:
    (level,) = ledger._file._connection.execute("PRAGMA synchronous").fetchone()
    assert level == 2


# --- what peers know -----------------------------------------------------------------------------


def test_heads_of_peers_and_revocations_are_kept(
    ledger: Ledger, path: Path, key: SigningKey, policy: SitePolicy
) -> None:
    heads = {"site-2": Head(7, b"h" * 32), "site-3": Head(1, b"k" * 32)}
    assert ledger.peer_heads() == {}
    assert ledger.least_revocations() == 0
    ledger.keep_peer_heads(heads)
    ledger.keep_least_revocations(4)
    ledger.keep_least_revocations(3)
    ledger.close()
    again = Ledger.open(path, key, policy)
    assert again.peer_heads() == heads
    assert again.least_revocations() == 4
    again.close()


def test_forty_seven_attempts_need_no_accounting_each(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, plan: Plan, admit: Admit, unmask: Unmask
) -> None:
    """Only the menu as a whole is priced, when the window opens."""
    calls: list[int] = []

    def counted(events: list[tuple[float, float, int]], delta: float) -> float:
        calls.append(len(events))
        return reported_epsilon(events, delta)

    monkeypatch.setattr("groundswell.client.menu.reported_epsilon", counted)
    run_all(ledger, plan, admit, unmask)
    assert len(calls) == 2
