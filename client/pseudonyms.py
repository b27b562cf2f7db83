"""Users become pseudonyms under a key that stays at the site.

The pseudonym of a user depends on the user's own identifier and on the site's key alone, so the
same user has the same pseudonym in every import, and two sites have different ones.
"""

from __future__ import annotations

import hmac
import os
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from groundswell.shared.errors import InputError

_KEY_BYTES = 32
_HEX_DIGITS = 32  # 128 bits: no collision to be expected below 10^15 users


@dataclass(frozen=True)
class SiteKey:
    """The secret from which a site derives the keys of its data."""

    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.secret) != _KEY_BYTES:
            raise InputError(
                "site key",
                f"{len(self.secret)} bytes",
                f"a site key has {_KEY_BYTES} bytes",
                "bring back the key that the store was made with",
            )

    @property
    def pseudonym_key(self) -> bytes:
        """Key of the pseudonyms' HMAC."""
        return self._derive(b"groundswell pseudonyms v1")

    @property
    def store_key(self) -> bytes:
        """Key of the prepared store's encryption."""
        return self._derive(b"groundswell store v1")

    def _derive(self, purpose: bytes) -> bytes:
        return HKDF(SHA256(), _KEY_BYTES, salt=None, info=purpose).derive(self.secret)


def new_site_key() -> SiteKey:
    """A fresh key from the system's randomness."""
    return SiteKey(secrets.token_bytes(_KEY_BYTES))


def load_site_key(path: Path, *, create: bool = False) -> SiteKey:
    """Read the key from a file of 32 bytes, readable by its owner alone.

    Raises:
        InputError: the file is missing (and ``create`` is False), unreadable, too open or damaged.
    """
    if create and not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        key = new_site_key()
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(key.secret)
            os.fsync(file.fileno())
        return key
    try:
        if path.stat().st_mode & 0o077:
            raise InputError(
                "site key", str(path), "others may read the key", f"chmod 600 {path.name}"
            )
        return SiteKey(path.read_bytes())
    except OSError as error:
        raise InputError(
            "site key",
            str(path),
            f"the key can't be read ({error.strerror})",
            "bring back the file, or begin with a new site",
        ) from error


def pseudonym(user: str, key: bytes) -> str:
    """HMAC-SHA256 of the user's identifier, the first 128 bits in hexadecimal."""
    return hmac.digest(key, user.encode(), "sha256").hex()[:_HEX_DIGITS]


def pseudonymise(events: pl.DataFrame, key: bytes) -> pl.DataFrame:
    """Replace the column ``user`` by pseudonyms and sort the users by them.

    Rows of one user keep their order. Rows of one user must follow each other.
    """
    users = events.select(pl.col("user").unique())
    names = pl.Series("pseudonym", _all(users["user"], key), pl.String)
    table = users.with_columns(names).sort("pseudonym").with_row_index("rank")
    return (
        events.lazy()
        .join(table.lazy(), on="user", how="left", maintain_order="left")
        .sort("rank", maintain_order=True)
        .with_columns(pl.col("pseudonym").alias("user"))
        .select(events.columns)
        .collect(engine="in-memory")
    )


def _all(users: Iterable[str], key: bytes) -> list[str]:
    return [pseudonym(user, key) for user in users]
