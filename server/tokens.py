"""API tokens: a random secret, stored hashed, with scopes, an expiry and a rate.

A secret has 256 random bits, so one SHA-256 is enough to store it by; a slow hash is for passwords.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from sqlalchemy import Column, DateTime, Engine, Integer, String, Table, insert, select, update

from groundswell.server.database import METADATA
from groundswell.shared.errors import InputError, Refusal

_PREFIX = "gsw"
CHECK_AGAIN_AFTER = 5.0  # seconds for which a token found good is not looked up again
_MOST_REMEMBERED = 10_000


class Scope(StrEnum):
    """What a token may do."""

    PREDICT = "predict"
    RECOMMEND = "recommend"
    EXPLAIN = "explain"
    TRENDS = "trends"
    MODELS = "models"
    FEDERATION = "federation"  # health, budgets and learning curves
    METRICS = "metrics"
    OPERATE = "operate"  # promote and roll back


_TOKENS = Table(
    "tokens",
    METADATA,
    Column("id", String(16), primary_key=True),
    Column("name", String(64), nullable=False),
    Column("secret_hash", String(64), nullable=False),
    Column("scopes", String(200), nullable=False),
    Column("per_minute", Integer, nullable=False),
    Column("created", DateTime, nullable=False),  # UTC
    Column("expires", DateTime, nullable=False),  # UTC
    Column("revoked", DateTime, nullable=True),
)


@dataclass(frozen=True)
class Caller:
    """Who asks, as far as a token tells."""

    id: str
    scopes: frozenset[Scope]
    per_minute: int | None = None


ANYONE = Caller("local", frozenset(Scope))  # development on loopback: no tokens


@dataclass(frozen=True)
class _Remembered:
    secret_hash: bytes = field(repr=False)
    caller: Caller
    expires: datetime
    looked_up: float


class Tokens:
    """Creates and checks tokens."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._remembered: dict[str, _Remembered] = {}

    def create(
        self,
        name: str,
        scopes: Iterable[Scope],
        lifetime: timedelta,
        per_minute: int,
        now: datetime,
    ) -> str:
        """A new token; its secret is not kept and can't be shown again.

        Raises:
            InputError: no scope, no lifetime, or no rate.
        """
        wanted = sorted(set(scopes))
        if not wanted:
            raise InputError("--scope", "", "a token needs a scope", f"name one of: {_scopes()}")
        if not timedelta(0) < lifetime <= timedelta(days=3660):
            raise InputError("--days", lifetime.days, "must lie in 1..3660", "name a shorter life")
        if per_minute < 1:
            raise InputError("--per-minute", per_minute, "must be at least 1", "name a higher rate")
        identity, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
        with self._engine.begin() as connection:
            connection.execute(
                insert(_TOKENS).values(
                    id=identity,
                    name=name[:64],
                    secret_hash=_hash(secret),
                    scopes=",".join(wanted),
                    per_minute=per_minute,
                    created=naive(now),
                    expires=naive(now + lifetime),
                )
            )
        return f"{_PREFIX}_{identity}_{secret}"

    def revoke(self, identity: str, now: datetime) -> None:
        """End a token now; other gateways notice within seconds.

        Raises:
            InputError: no such token.
        """
        change = update(_TOKENS).where(_TOKENS.c.id == identity).values(revoked=naive(now))
        with self._engine.begin() as connection:
            if connection.execute(change).rowcount == 0:
                raise InputError("token", identity, "is unknown", "see `groundswell token list`")
        self._remembered.pop(identity, None)

    def listing(self) -> list[dict[str, str]]:
        """Every token without its secret, oldest first."""
        with self._engine.connect() as connection:
            rows = connection.execute(select(_TOKENS).order_by(_TOKENS.c.created)).mappings()
            return [
                {
                    "id": row["id"],
                    "name": row["name"],
                    "scopes": row["scopes"],
                    "per_minute": str(row["per_minute"]),
                    "expires": row["expires"].isoformat() + "Z",
                    "revoked": row["revoked"].isoformat() + "Z" if row["revoked"] else "",
                }
                for row in rows
            ]

    def check(self, authorization: str | None, now: datetime, monotonic: float) -> Caller:
        """The caller behind an ``Authorization`` header.

        Raises:
            Refusal: ``no-token``, ``bad-token`` or ``expired-token``.
        """
        if not authorization:
            raise Refusal("no-token", "send the header Authorization: Bearer TOKEN")
        kind, _, token = authorization.partition(" ")
        prefix, _, rest = token.strip().partition("_")
        identity, _, secret = rest.partition("_")
        if kind.lower() != "bearer" or prefix != _PREFIX or not secret or len(token) > 200:
            raise Refusal("bad-token", "the token is not one of this gateway's")
        found = self._remembered.get(identity)
        if found is None or monotonic - found.looked_up > CHECK_AGAIN_AFTER:
            found = self._look_up(identity, monotonic)
        given = _hash(secret).encode()
        if found is None or not hmac.compare_digest(given, found.secret_hash):
            raise Refusal("bad-token", "the token is not one of this gateway's")
        if naive(now) >= found.expires:
            raise Refusal("expired-token", "the token has expired; ask for a new one")
        return found.caller

    def _look_up(self, identity: str, monotonic: float) -> _Remembered | None:
        query = select(_TOKENS).where(_TOKENS.c.id == identity, _TOKENS.c.revoked.is_(None))
        with self._engine.connect() as connection:
            row = connection.execute(query).mappings().first()
        self._remembered.pop(identity, None)
        if row is None:
            return None
        if len(self._remembered) >= _MOST_REMEMBERED:
            self._remembered.clear()
        caller = Caller(
            identity,
            frozenset(Scope(scope) for scope in row["scopes"].split(",")),
            row["per_minute"],
        )
        found = _Remembered(row["secret_hash"].encode(), caller, row["expires"], monotonic)
        self._remembered[identity] = found
        return found


def require(caller: Caller, scope: Scope) -> None:
    """Raises ``Refusal("wrong-scope")`` where the caller may not do it."""
    if scope not in caller.scopes:
        raise Refusal("wrong-scope", f"the token lacks the scope {scope}")


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


def _scopes() -> str:
    return ", ".join(Scope)


def naive(moment: datetime) -> datetime:
    """UTC without a zone, the same in every database."""
    return moment.astimezone(UTC).replace(tzinfo=None)
