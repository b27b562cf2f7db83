"""What the rows of a ledger amount to, followed row by row, and the rules that rest on it."""

from __future__ import annotations

from collections import Counter

from groundswell.client.attempt import Admission
from groundswell.client.ledger_rows import Closed, Reserved, Restored, Row, Sent, Window
from groundswell.client.policy import RETRIES_PER_ROUND, SitePolicy
from groundswell.shared.errors import Refusal
from groundswell.shared.plan import GRADIENT, Plan, PlannedRelease


class LedgerState:
    """The state of a ledger in memory; a cache of its rows and nothing more.

    Attributes:
        rows: number and row, in order.
        window: the last budget window that began.
        used: events of that window by position in its menu.
        reserved, closed: rows by attempt.
        sent: attempts that were about to leave.
        highest_seq: the highest attempt ever reserved, or given up by a restore.
        time: of the last row, Unix seconds.
    """

    def __init__(self) -> None:
        self.rows: list[tuple[int, Row]] = []
        self.window: Window | None = None
        self.used: Counter[int] = Counter()
        self.reserved: dict[int, Reserved] = {}
        self.sent: set[int] = set()
        self.closed: dict[int, Closed] = {}
        self.highest_seq = 0
        self.time = 0
        # Events of that window since the last restore, by run and position in the menu.
        self._of_run: Counter[tuple[str, int]] = Counter()
        self._attempts: Counter[tuple[str, str, int | None]] = Counter()
        self._plans: dict[str, str] = {}

    def take(self, number: int, row: Row) -> None:
        """Follow a row that stands in the file."""
        self.rows.append((number, row))
        self.time = max(self.time, row.time)
        if isinstance(row, Window):
            self.window, self.used = row, Counter()
            self._of_run = Counter()
        elif isinstance(row, Reserved):
            self.used[row.entry] += 1
            self._of_run[row.run, row.entry] += 1
            self.reserved[row.seq] = row
            self._attempts[row.run, row.kind, None] += 1
            self._attempts[row.run, row.kind, row.round] += 1
            self._plans[row.run] = row.plan
            self.highest_seq = max(self.highest_seq, row.seq)
        elif isinstance(row, Sent):
            self.sent.add(row.seq)
        elif isinstance(row, Closed):
            self.closed[row.seq] = row
        elif isinstance(row, Restored):
            self.highest_seq = max(self.highest_seq, row.highest_seq)
            menu = self.window.menu if self.window else ()
            self._of_run = Counter()
            self.used = Counter({position: entry.count for position, entry in enumerate(menu)})

    def open_window(self, now: int) -> Window | None:
        """The window that ``now`` lies in."""
        window = self.window
        return window if window is not None and now < window.end else None

    def used_by_account(self, window: Window, *, apart_from: str = "") -> Counter[str]:
        """Events in the window by ``MenuEntry.account``, charges for lost rows included.

        Args:
            apart_from: a run whose known events are left out.
        """
        found: Counter[str] = Counter()
        for position, count in self.used.items():
            found[window.menu[position].account] += count - self._of_run[apart_from, position]
        return found

    def check_attempt(self, plan: Plan, release: PlannedRelease, admission: Admission) -> None:
        """Rules over the attempts of a run, which outlive a restart.

        Raises:
            Refusal: ``stale-seq``, ``plan-changed``, ``too-few-sites`` or ``too-many-attempts``.
        """
        seq = admission.seq
        if seq <= self.highest_seq:
            raise Refusal("stale-seq", f"attempt {seq} is not above {self.highest_seq}")
        if admission.kind != release.kind:
            raise Refusal("plan-changed", f"attempt {seq} was admitted for {admission.kind!r}")
        if self._plans.get(plan.run, plan.hash().hex()) != plan.hash().hex():
            raise Refusal("plan-changed", f"run {plan.run} began with another plan")
        if admission.honest < plan.n_min - plan.colluders:
            raise Refusal("too-few-sites", f"only {admission.honest} sites are surely honest")
        paid = release.count + release.retries
        if self._attempts[plan.run, release.kind, None] >= paid:
            raise Refusal("too-many-attempts", f"the plan pays for {paid} of {release.kind}")
        tries = self._attempts[plan.run, release.kind, admission.round]
        if release.kind == GRADIENT and tries > RETRIES_PER_ROUND:
            raise Refusal(
                "too-many-attempts",
                f"round {admission.round} was retried {RETRIES_PER_ROUND} times",
            )

    def paying_entry(
        self,
        window: Window,
        policy: SitePolicy,
        plan: Plan,
        release: PlannedRelease,
        admission: Admission,
    ) -> int:
        """Position of the cheapest entry of the window's menu that can pay for the event.

        The window's menu was priced as a whole when the window began. A site may drop, tighten or
        shorten entries of its policy at any time; what it adds or widens waits for the next window.

        Raises:
            Refusal: ``delta-changed``, ``n-min-too-small`` or ``over-budget``.
        """
        if plan.delta != window.delta:
            raise Refusal("delta-changed", f"delta is {window.delta:g} for the whole window")
        positions = [
            position
            for position, entry in enumerate(window.menu)
            if entry.dominates(release.kind, release.noise_multiplier, release.sampling_rate)
        ]
        honest = plan.n_min - plan.colluders
        trusted = [each for each in positions if honest >= window.honest_of(window.menu[each])]
        if positions and not trusted:
            raise Refusal(
                "n-min-too-small",
                f"the plan counts on {honest} honest sites, fewer than window {window.number} "
                "allows; what [policy] has been widened by waits for the next one",
            )
        trusted.sort(key=lambda each: (-window.menu[each].sigma_min, window.menu[each].q_max))
        paid, used = policy.paid(release, plan), self.used_by_account(window)
        for position in trusted:
            entry = window.menu[position]
            if (
                entry.count > self.used[position]
                and paid[entry.account] > used[entry.account]
                and len(admission.sharers) >= policy.least_roster_of(entry)
            ):
                return position
        raise Refusal(
            "over-budget",
            f"the menu of window {window.number} pays for no further event like this "
            f"{release.kind}; the next window begins at {window.end} (Unix seconds)",
        )
