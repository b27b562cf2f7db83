"""What a vault counts, as a Prometheus text file: the vault itself has no network.

Requests and refusals by kind and code, bytes, seconds, and the budget. None of it depends on a
user: the number of users and events stays out, and so does every norm and loss.
"""

from __future__ import annotations

from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, write_to_textfile

from groundswell.client.ledger import Ledger
from groundswell.client.policy import SitePolicy

_SECONDS = (0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0)


class VaultTelemetry:
    """The counters of one vault.

    Args:
        path: the text file; replaced whole.
        ledger, policy: whose budget is told.
    """

    def __init__(self, path: Path, ledger: Ledger, policy: SitePolicy) -> None:
        self._path = path
        self._ledger = ledger
        self._policy = policy
        self._row = -1
        self._registry = CollectorRegistry()
        self._answered = Counter(
            "groundswell_vault_requests",
            "Requests of the relay, by kind and code of refusal.",
            ["kind", "refused"],
            registry=self._registry,
        )
        self._bytes = Counter(
            "groundswell_vault_bytes",
            "Payload over the relay's socket.",
            ["way"],
            registry=self._registry,
        )
        self._seconds = Histogram(
            "groundswell_vault_seconds",
            "Time to answer, the plan's slot time included.",
            ["kind"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._head = Gauge(
            "groundswell_ledger_row", "Last row of the ledger.", registry=self._registry
        )
        self._epsilon = Gauge(
            "groundswell_epsilon_spent",
            "Epsilon of the current window.",
            ["tier"],
            registry=self._registry,
        )
        self._left = Gauge(
            "groundswell_budget_left",
            "Cap less what is spent in the window.",
            ["tier"],
            registry=self._registry,
        )

    def answered(self, kind: str, code: str, received: int, sent: int, seconds: float) -> None:
        """Count one request; ``code`` is empty where it was answered."""
        self._answered.labels(kind, code).inc()
        self._bytes.labels("in").inc(received)
        self._bytes.labels("out").inc(sent)
        self._seconds.labels(kind).observe(seconds)

    def write(self) -> None:
        """Write the file."""
        row = self._ledger.head().row
        if row != self._row:
            self._row = row
            self._head.set(row)
            spend = self._ledger.spend()
            for tier, spent, cap in (
                ("central", spend.central.epsilon, self._policy.eps_c),
                ("local", spend.local.epsilon, self._policy.eps_l),
            ):
                self._epsilon.labels(tier).set(spent)
                if cap is not None:
                    self._left.labels(tier).set(cap - spent)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        write_to_textfile(str(self._path), self._registry)
