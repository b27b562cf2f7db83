"""Pseudonyms: stable at a site, different between sites, the key never shown."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from groundswell.client.pseudonyms import (
    SiteKey,
    load_site_key,
    new_site_key,
    pseudonym,
    pseudonymise,
)
from groundswell.shared.errors import InputError


def test_pseudonym_is_the_hmac_of_the_user() -> None:
    # RFC 4231, test case 2.
    assert pseudonym("what do ya want for nothing?", b"Jefe") == "5bdcc146bf60754e6a042426089575c7"


def test_sites_have_different_pseudonyms() -> None:
    one, two = new_site_key(), new_site_key()
    assert pseudonym("a", one.pseudonym_key) != pseudonym("a", two.pseudonym_key)


def test_keys_differ_by_purpose_and_are_not_shown() -> None:
    key = SiteKey(b"\x07" * 32)
    assert key.pseudonym_key != key.store_key
    assert "07" not in repr(key)
    assert "\\x07" not in repr(key)


def test_rows_come_sorted_by_pseudonym_in_their_order() -> None:
    frame = pl.DataFrame({"user": ["a", "a", "b", "c", "c"], "n": [1, 2, 3, 4, 5]})
    out = pseudonymise(frame, b"key")
    assert out["user"].is_sorted()
    for user in "abc":
        own = out.filter(user=pseudonym(user, b"key"))["n"]
        assert own.equals(frame.filter(user=user)["n"])


def test_key_file_is_made_once_and_closed_to_others(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "site.key"
    key = load_site_key(path, create=True)
    assert path.stat().st_mode & 0o777 == 0o600
    assert load_site_key(path, create=True) == key == load_site_key(path)
    path.chmod(0o644)
    with pytest.raises(InputError, match="others may read"):
        load_site_key(path)


@pytest.mark.parametrize("content", [None, b"short"])
def test_a_missing_or_damaged_key_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "site.key"
    if content is not None:
        path.write_bytes(content)
        path.chmod(0o600)
    with pytest.raises(InputError, match="bring back"):
        load_site_key(path)
