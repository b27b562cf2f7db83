"""What a vault refuses before any work, repeats without any, and sends when the work fails.

The vaults, their ledgers and the coordinator are real; a spy stands for all that touches data.
"""

from __future__ import annotations

import contextlib
import random
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import grpc
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from groundswell.client.contributions import SiteData
from groundswell.client.ledger import Ledger
from groundswell.client.policy import SitePolicy
from groundswell.client.vault import FixedPace, Identity, Vault
from groundswell.client.vault_server import VaultHandler
from groundswell.server.unmasking import Release, Requests, SecureSum, SecureTotal, drive
from groundswell.shared.catalogue import Catalogue
from groundswell.shared.envelopes import parse, serialise
from groundswell.shared.errors import AttemptVoid
from groundswell.shared.identity import sealed_plan
from groundswell.shared.plan import Plan, PlannedRelease
from groundswell.shared.roster import Head, terms_of
from groundswell.shared.transfer import ModelState
from groundswell.shared.wire import groundswell_pb2 as wire
from groundswell.simulation.secure_sites import Consortium

SITES = [f"site-{number}" for number in range(1, 9)]
OpenHouse = Callable[[SitePolicy], "House"]
MODEL = ModelState({"head": np.zeros(3, dtype=np.float32)}, {})


SHOP = Catalogue("shop", ("TEA",), ("TEA",), ("",), np.ones(1, np.float32), {})


@dataclass
class Spy:
    """Stands in the place of everything that touches data, and counts."""

    prepared: int = 0
    computed: int = 0
    users: int = 40
    fault: Exception | None = None
    faulty_user: int | None = None  # None: the fault is everybody's
    of_each_user: int = 0
    catalogue: Catalogue = SHOP

    def workplace(self, plan: Plan) -> Spy:
        self.prepared += 1
        return self

    def job(self, release: PlannedRelease, round_number: int, model: ModelState) -> SpyJob:
        return SpyJob(self, release.dimension, self.users)


@dataclass
class SpyJob:
    spy: Spy
    dimension: int
    users: int

    def integer_sum(
        self, rows: NDArray[np.int64], attempt_secret: bytes, slots: int | None
    ) -> NDArray[np.int64]:
        self.spy.computed += 1
        if self.spy.fault is not None and self.spy.faulty_user in (None, *rows.tolist()):
            raise self.spy.fault
        return np.full(self.dimension, self.spy.of_each_user * len(rows), dtype=np.int64)


@dataclass
class Watched(FixedPace):
    """The pace of a deployed site, without the waiting."""

    waited: list[float] = field(default_factory=list)

    def wait(self, started: float, seconds: float) -> None:
        self.waited.append(seconds)


@dataclass
class House:
    """Eight real vaults with real ledgers, and a coordinator.

    ``asked`` holds every request that was sent: its site, its bytes, and the bytes of the reply.
    """

    folder: Path
    policy: SitePolicy
    consortium: Consortium
    spy: Spy
    vaults: dict[str, Vault] = field(default_factory=dict)
    ledgers: dict[str, Ledger] = field(default_factory=dict)
    pace: Watched = field(default_factory=Watched)
    asked: list[tuple[str, bytes, bytes]] = field(default_factory=list)
    coordinator: SecureSum = field(init=False)

    def start(self, name: str) -> None:
        """Start a site's vault, or start it again on the ledger that it left."""
        member, path = self.consortium.members[name], self.folder / f"{name}.sqlite"
        if name in self.ledgers:
            self.ledgers[name].close()
            self.ledgers[name] = Ledger.open(path, member.key, self.policy)
        else:
            self.ledgers[name] = Ledger.create(path, member.key, name, self.policy)
        identity = Identity(member.key, member.certificate, self.consortium.trust)
        self.vaults[name] = Vault(
            identity, self.policy, self.ledgers[name], cast(SiteData, self.spy), pace=self.pace
        )

    def heads(self) -> dict[str, Head]:
        """The last row of every ledger."""
        return {name: ledger.head() for name, ledger in self.ledgers.items()}

    def join(self, plan: Plan) -> set[str]:
        """The codes with which the sites refuse a plan; an empty text for ready."""
        request = sealed_plan(plan.canonical_bytes(), self.consortium.coordinator)
        replies = self._ask(dict.fromkeys(SITES, wire.VaultRequest(join=request)))
        self.coordinator = SecureSum(
            self.consortium.trust, terms_of(plan), self.consortium.revocations()
        )
        return {reply.refused.code for reply in replies.values()}

    def round(self, kind: str, number: int, dimension: int) -> set[str]:
        """The codes with which the sites refuse an attempt; empty where it went through."""
        with contextlib.suppress(AttemptVoid):
            self.total(kind, number, dimension)
        return set(self.coordinator.refusals.values())

    def total(self, kind: str, number: int, dimension: int) -> SecureTotal:
        """One attempt; raises ``AttemptVoid``."""
        release = Release(kind, number, MODEL.pack(), MODEL.hash(), dimension)
        attempt = self.coordinator.attempt(
            release, sites=SITES, following=False, now=self.consortium.now
        )
        return drive(attempt, self._ask)

    def code(self, name: str, request: bytes) -> str:
        """The code with which a site refuses a request, or an empty text."""
        return parse(wire.VaultReply, self.vaults[name].handle(request)).refused.code

    def sent(self, name: str, kind: str) -> tuple[bytes, bytes]:
        """The last request of a kind that was sent to a site, and its reply."""
        return next(
            (request, reply)
            for site, request, reply in reversed(self.asked)
            if site == name and parse(wire.VaultRequest, request).WhichOneof("request") == kind
        )

    def _ask(self, requests: Requests) -> dict[str, wire.VaultReply]:
        replies = {}
        for name, request in requests.items():
            data = serialise(request)
            reply = self.vaults[name].handle(data)
            self.asked.append((name, data, reply))
            replies[name] = parse(wire.VaultReply, reply)
        return replies


@pytest.fixture
def open_house(tmp_path: Path) -> Iterator[OpenHouse]:
    """Opens a house whose sites follow a policy."""
    spy = Spy()
    houses = []

    def make(policy: SitePolicy) -> House:
        consortium = Consortium.create({name: name for name in SITES}, now=int(time.time()))
        made = House(tmp_path, policy, consortium, spy)
        for name in SITES:
            made.start(name)
        houses.append(made)
        return made

    yield make
    for each in houses:
        for ledger in each.ledgers.values():
            ledger.close()


@pytest.fixture
def house(open_house: OpenHouse, policy: SitePolicy) -> House:
    return open_house(policy)


def release(plan: Plan, kind: str, **fields: Any) -> Plan:
    """The plan with other fields of one release."""
    changed = tuple(
        each.model_copy(update=fields) if each.kind == kind else each for each in plan.releases
    )
    return plan.model_copy(update={"releases": changed})


WIDER: dict[str, tuple[Callable[[Plan], Plan], str]] = {
    "over budget": (lambda plan: release(plan, "gradient", count=60), "over-budget"),
    "lowered sigma": (
        lambda plan: release(plan, "gradient", noise_multiplier=1.0),
        "sigma-too-small",
    ),
    "raised q": (lambda plan: release(plan, "gradient", sampling_rate=0.9), "rate-too-large"),
    "raised C": (lambda plan: release(plan, "gradient", clip_norm=9.0), "clip-too-large"),
    "raised k": (
        lambda plan: plan.model_copy(update={"examples_per_user": 5}),
        "examples-too-many",
    ),
    "shrunk n_min": (lambda plan: plan.model_copy(update={"n_min": 5}), "n-min-too-small"),
}


@pytest.mark.parametrize("name", WIDER)
def test_a_wider_plan_is_refused_before_any_work(name: str, house: House, plan: Plan) -> None:
    change, code = WIDER[name]
    heads = house.heads()
    assert house.join(change(plan)) == {code}
    assert house.spy == Spy(prepared=0, computed=0)
    assert house.heads() == heads


def test_a_plan_of_another_coordinator_is_refused(house: House, plan: Plan) -> None:
    stranger = Consortium.create({"site-1": "site-1"}, now=house.consortium.now)
    request = sealed_plan(plan.canonical_bytes(), stranger.coordinator)
    reply = house.vaults["site-1"].handle(serialise(wire.VaultRequest(join=request)))
    assert parse(wire.VaultReply, reply).refused.code == "bad-plan-signature"
    assert house.spy.prepared == 0


def test_attempts_that_nothing_pays_for_are_refused_before_any_work(
    house: House, plan: Plan
) -> None:
    """Six rounds and one retry go through; the eighth request finds no work being done."""
    assert house.join(plan) == {""}
    for number in (1, 2, 3, 4, 5, 6, 6):
        assert house.round("gradient", number, 2000) == set()
    assert house.spy.computed == 7 * len(SITES)
    heads = house.heads()
    assert house.round("gradient", 6, 2000) == {"too-many-attempts"}
    assert house.round("hazard", 1, 2000) == {"unknown-kind"}
    assert house.spy.computed == 7 * len(SITES)
    assert house.heads() == heads
    # The next run of the same size is turned away at the door: the window is used up.
    second = plan.model_copy(update={"run": "cd" * 16})
    assert house.join(second) == {"over-budget"}
    assert house.spy.prepared == len(SITES)


def test_every_computed_vector_was_charged_and_closed(house: House, plan: Plan) -> None:
    house.join(plan)
    assert house.round("popularity", 0, 300) == set()
    for ledger in house.ledgers.values():
        spent = ledger.spend()
        assert spent.events == 1
        assert spent.central.epsilon < spent.reserved.epsilon


def test_a_changed_plan_is_refused_before_any_work(
    open_house: OpenHouse, policy: SitePolicy, plan: Plan
) -> None:
    """A site that accepted one plan by its hash: a plan that is even more private won't do."""
    accepted = {"acceptance": "explicit", "accepted_plans": (plan.hash().hex(),)}
    house = open_house(policy.model_copy(update=accepted))
    quieter = release(plan, "gradient", clip_norm=plan.releases[1].clip_norm / 2)
    assert house.join(quieter) == {"plan-not-accepted"}
    assert house.spy == Spy(prepared=0, computed=0)
    assert house.join(plan) == {""}


def test_an_identical_repeat_gets_identical_bytes_without_work_or_charge(
    house: House, plan: Plan
) -> None:
    house.join(plan)
    # The answer to a plan carries the ledger's head of the moment.
    house.asked.clear()
    house.round("gradient", 1, 2000)
    computed, heads = house.spy.computed, house.heads()
    assert len(house.asked) == 5 * len(SITES)
    for name, request, reply in house.asked:
        assert house.vaults[name].handle(request) == reply
    assert house.spy.computed == computed
    assert house.heads() == heads


def test_whatever_a_relay_sends_again_in_any_order_costs_nothing_more(
    house: House, plan: Plan
) -> None:
    """The relay belongs to whoever ships the bundle. It keeps what went by, of two rounds and of
    one that it broke off, and asks for a thousand releases."""
    house.join(plan)
    house.round("gradient", 1, 2000)
    house.round("gradient", 2, 2000)
    computed, heads = house.spy.computed, house.heads()
    handlers = {name: VaultHandler(vault) for name, vault in house.vaults.items()}
    order = random.Random(3)
    codes = set()
    for _ in range(1000):
        _, request, _ = order.choice(house.asked)
        handler = handlers[order.choice(SITES)]
        reply = handler.handle(request, cast(grpc.ServicerContext, None))
        codes.add(parse(wire.VaultReply, reply).refused.code)
    assert house.spy.computed == computed
    assert house.heads() == heads
    assert codes <= {"", "unknown-seq", "stale-seq", "conflicting-request"}


def test_a_million_releases_are_refused_after_those_that_are_paid_for(
    house: House, plan: Plan
) -> None:
    house.join(plan)
    paid = sum(each.count + each.retries for each in plan.releases)
    for number in (*range(1, 7), *[6] * 20):
        house.round("gradient", number, 2000)
    for kind, dimension in (("popularity", 300), ("evaluation", 2)):
        for number in range(9):
            house.round(kind, number, dimension)
    assert house.spy.computed <= paid * len(SITES)
    for ledger in house.ledgers.values():
        spent = ledger.spend()
        assert spent.reserved.epsilon <= plan.eps_c
        assert spent.local.epsilon <= plan.eps_l


def test_a_restarted_vault_neither_sums_nor_unmasks_a_second_time(house: House, plan: Plan) -> None:
    house.join(plan)
    house.round("gradient", 1, 2000)
    kinds = ("advertise", "share", "contribute", "confirm", "unmask")
    requests = {kind: house.sent("site-1", kind)[0] for kind in kinds}
    computed, heads = house.spy.computed, house.heads()
    house.start("site-1")
    assert {house.code("site-1", request) for request in requests.values()} == {"not-joined"}
    house.join(plan)
    codes = {kind: house.code("site-1", request) for kind, request in requests.items()}
    assert codes == dict.fromkeys(kinds[1:], "unknown-seq") | {"advertise": "stale-seq"}
    assert house.spy.computed == computed
    assert house.heads() == heads


def test_a_restarted_vault_goes_on_with_its_run_and_takes_no_second_one(
    house: House, plan: Plan
) -> None:
    house.join(plan)
    house.round("gradient", 1, 2000)
    house.start("site-1")
    assert house.join(plan) == {""}
    # The coordinator starts with fresh keys, above every attempt that a ledger has seen.
    house.coordinator = SecureSum(
        house.consortium.trust, terms_of(plan), house.consortium.revocations(), first_seq=2
    )
    for number in (2, 3, 4, 5, 6):
        assert len(house.total("gradient", number, 2000).survivors) == len(SITES)
    house.start("site-1")
    assert house.join(plan.model_copy(update={"run": "cd" * 16})) == {"over-budget"}


def noise_of(total: NDArray[np.int64], plan: Plan) -> float:
    """Standard deviation of a sum over all sites, over that of their noises together."""
    planned = plan.release("gradient")
    assert planned is not None
    expected = planned.standard_deviation * len(SITES) ** 0.5
    return float(np.sqrt(np.mean(total.astype(np.float64) ** 2)) / expected)


def test_a_site_without_users_and_an_empty_sample_still_release_all_their_noise(
    house: House, plan: Plan
) -> None:
    house.spy.users = 0
    house.join(plan)
    found = house.total("gradient", 1, 2000)
    assert len(found.survivors) == len(SITES)
    # 2000 coordinates: the error of a standard deviation is 1.6 %.
    assert noise_of(found.total, plan) == pytest.approx(1, abs=0.07)


@pytest.mark.parametrize(
    "fault", [ValueError("user 17 has no events"), MemoryError(), KeyError("user 17")]
)
def test_where_a_users_events_break_the_computing_noise_alone_goes_out_in_time(
    house: House, plan: Plan, fault: Exception
) -> None:
    """A code, a missing answer or an early one would tell what no noise covers."""
    slow = plan.model_copy(update={"seconds_per_slot": 30.0})
    house.spy.fault = fault
    house.join(slow)
    house.pace.waited.clear()
    found = house.total("gradient", 1, 2000)
    assert house.coordinator.refusals == {}
    assert len(found.survivors) == len(SITES)
    assert noise_of(found.total, plan) == pytest.approx(1, abs=0.07)
    assert house.pace.waited == [30.0] * len(SITES)
    assert all(ledger.spend().events == 1 for ledger in house.ledgers.values())
    texts = [reply for _, _, reply in house.asked if b"user 17" in reply]
    assert texts == []


def test_a_user_whose_events_break_the_computing_counts_0_and_no_other_user_does(
    house: House, plan: Plan
) -> None:
    """Were the whole sum lost with that user, it would tell of the user what no noise covers."""
    house.spy.users, house.spy.of_each_user = 40, 10**9
    house.spy.fault, house.spy.faulty_user = ValueError("user 17 has no events"), 17
    house.join(plan)
    found = house.total("evaluation", 7, 2)
    assert len(found.survivors) == len(SITES)
    assert found.total / (len(SITES) * 10**9) == pytest.approx(39, abs=0.5)


def test_a_plan_that_is_accepted_is_answered_at_the_slot_time(house: House, plan: Plan) -> None:
    """Making ready takes the longer, the more texts a site's users typed."""
    house.join(plan.model_copy(update={"seconds_per_slot": 30.0}))
    assert house.pace.waited == [30.0] * len(SITES)


def test_what_breaks_anywhere_else_is_one_constant_code(
    house: House, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(data: bytes) -> bytes:
        raise ValueError("user 17 has no events")

    monkeypatch.setattr(house.vaults["site-1"], "handle", broken)
    handler = VaultHandler(house.vaults["site-1"])
    reply = handler.handle(b"anything", cast(grpc.ServicerContext, None))
    assert parse(wire.VaultReply, reply) == wire.VaultReply(refused=wire.Refused(code="failed"))


EDITS = st.lists(
    st.tuples(st.integers(0, 10_000), st.integers(0, 40), st.binary(max_size=20)),
    min_size=1,
    max_size=4,
)


@pytest.mark.fuzz
@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_any_bytes_over_the_relays_socket_get_a_reply_or_a_code(
    house: House, plan: Plan, data: st.DataObject
) -> None:
    """Bytes of any kind, and the requests of a round, damaged: never an unforeseen fault."""
    if not house.asked:
        house.join(plan)
        house.round("gradient", 1, 2000)
    _, request, _ = data.draw(st.sampled_from(house.asked))
    for position, length, new in data.draw(EDITS):
        at = position % (len(request) + 1)
        request = request[:at] + new + request[at + length :]
    sent = data.draw(st.just(request) | st.binary(max_size=300))
    reply = VaultHandler(house.vaults["site-1"]).handle(sent, cast(grpc.ServicerContext, None))
    answer = parse(wire.VaultReply, reply)
    assert answer.WhichOneof("reply") is not None
    assert re.fullmatch(r"[a-z]*(-[a-z]+)*", answer.refused.code)
    assert answer.refused.code != "failed"
    assert house.ledgers["site-1"].spend().events == 1


def test_an_answer_that_outlasts_its_slot_is_told_to_the_operator(
    caplog: pytest.LogCaptureFixture,
) -> None:
    pace = FixedPace()
    pace.wait(time.monotonic(), 0.01)
    pace.wait(time.monotonic() - 1, 0)
    assert not caplog.records
    pace.wait(time.monotonic() - 1, 0.5)
    (record,) = caplog.records
    assert "outlasted the slot time" in record.message
