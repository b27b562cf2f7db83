"""Counts and times of the gateway for Prometheus; no label holds content of a request."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
_SIZES = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """One gateway's metrics, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "groundswell_requests_total",
            "Requests answered.",
            ("protocol", "method", "status"),
            registry=self.registry,
        )
        self._seconds = Histogram(
            "groundswell_request_seconds",
            "Time from a request's arrival to its answer.",
            ("protocol", "method"),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._batches = Histogram(
            "groundswell_batch_size",
            "Forecasts computed together.",
            buckets=_SIZES,
            registry=self.registry,
        )
        self._sessions = Gauge(
            "groundswell_sessions", "Sessions held in memory.", registry=self.registry
        )

    def request(self, protocol: str, method: str, status: str, seconds: float) -> None:
        """Count one answered request."""
        self._requests.labels(protocol, method, status).inc()
        self._seconds.labels(protocol, method).observe(seconds)

    def batch(self, size: int) -> None:
        """Count one computed batch."""
        self._batches.observe(size)

    def sessions(self, count: int) -> None:
        """How many sessions are held."""
        self._sessions.set(count)

    def text(self) -> bytes:
        """The exposition format."""
        return generate_latest(self.registry)
