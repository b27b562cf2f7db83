"""Tokens: hashed, scoped, expiring, revocable."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from groundswell.server.database import open_database
from groundswell.server.tokens import CHECK_AGAIN_AFTER, Scope, Tokens, require
from groundswell.shared.errors import InputError, Refusal

NOW = datetime(2026, 1, 31, tzinfo=UTC)


@pytest.fixture
def tokens(tmp_path: Path) -> Tokens:
    return Tokens(open_database(f"sqlite:///{tmp_path / 'r.sqlite'}"))


def make(tokens: Tokens, days: int = 30) -> str:
    return tokens.create("shop", [Scope.PREDICT], timedelta(days=days), 60, NOW)


def code(tokens: Tokens, header: str | None, now: datetime = NOW, at: float = 0.0) -> str:
    with pytest.raises(Refusal) as caught:
        tokens.check(header, now, at)
    return caught.value.code


def test_a_token_gives_its_scopes_and_rate(tokens: Tokens) -> None:
    caller = tokens.check(f"Bearer {make(tokens)}", NOW, 0.0)
    assert caller.scopes == {Scope.PREDICT}
    assert caller.per_minute == 60
    with pytest.raises(Refusal, match="lacks the scope operate"):
        require(caller, Scope.OPERATE)


def test_the_secret_is_not_stored(tokens: Tokens, tmp_path: Path) -> None:
    secret = make(tokens).rpartition("_")[2]
    stored = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert secret.encode() not in stored
    assert secret not in str(tokens.listing())


@pytest.mark.parametrize(
    "header",
    ["Bearer ", "Bearer nonsense", "Basic dXNlcjp4", "Bearer gsw_0_x", "Bearer gsw__" * 99],
)
def test_what_is_no_token_is_refused(tokens: Tokens, header: str) -> None:
    make(tokens)
    assert code(tokens, header) == "bad-token"


def test_a_wrong_secret_a_missing_and_an_expired_token(tokens: Tokens) -> None:
    token = make(tokens)
    assert code(tokens, f"Bearer {token[:-1]}{'a' if token[-1] != 'a' else 'b'}") == "bad-token"
    assert code(tokens, None) == "no-token"
    assert code(tokens, f"Bearer {token}", NOW + timedelta(days=31)) == "expired-token"


def test_a_revoked_token_ends_at_once_here_and_soon_elsewhere(tokens: Tokens) -> None:
    token = make(tokens)
    elsewhere = Tokens(tokens._engine)
    elsewhere.check(f"Bearer {token}", NOW, 0.0)
    tokens.check(f"Bearer {token}", NOW, 0.0)
    tokens.revoke(token.split("_")[1], NOW)
    assert code(tokens, f"Bearer {token}") == "bad-token"
    assert code(elsewhere, f"Bearer {token}", at=CHECK_AGAIN_AFTER + 1) == "bad-token"


def test_wrong_wishes_are_refused(tokens: Tokens) -> None:
    for scopes, days, rate in (([], 1, 1), ([Scope.TRENDS], 0, 1), ([Scope.TRENDS], 1, 0)):
        with pytest.raises(InputError):
            tokens.create("x", scopes, timedelta(days=days), rate, NOW)
    with pytest.raises(InputError, match="unknown"):
        tokens.revoke("nobody", NOW)
