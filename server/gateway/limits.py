"""How much one caller may ask: requests a minute by a token bucket, in memory of one gateway."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from groundswell.shared.errors import Refusal

MAX_BODY = 4 * 1024 * 1024  # bytes of one request
REQUEST_SECONDS = 30.0  # longest computation of one request
HEADER_SECONDS = 10.0  # to send a request's head
BODY_SECONDS = 20.0  # to send a request's body
SLOW_SECONDS = 1.0  # an answer that takes longer is logged
_MOST_BUCKETS = 100_000


@dataclass
class _Bucket:
    left: float
    seen: float


class RateLimit:
    """A bucket for each caller: it holds a minute's worth and fills steadily."""

    def __init__(self) -> None:
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def take(self, caller: str, per_minute: int, now: float, cost: int = 1) -> None:
        """Take ``cost`` requests from the caller's bucket.

        Args:
            now: seconds, never falling.

        Raises:
            Refusal: ``rate-limited``.
        """
        bucket = self._buckets.pop(caller, None) or _Bucket(float(per_minute), now)
        gained = (now - bucket.seen) * per_minute / 60
        bucket.left = min(float(per_minute), bucket.left + gained)
        bucket.seen = now
        self._buckets[caller] = bucket
        while len(self._buckets) > _MOST_BUCKETS:
            self._buckets.popitem(last=False)
        if bucket.left < cost:
            wait = (cost - bucket.left) * 60 / per_minute
            raise Refusal(
                "rate-limited",
                f"the token allows {per_minute} requests a minute; try again in {wait:.0f} s",
            )
        bucket.left -= cost
