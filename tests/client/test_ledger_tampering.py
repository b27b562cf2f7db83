"""Whatever is done to a ledger's file, ``verify`` says so; opening it fails closed."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from groundswell.client.attempt import Admission, Unmasking
from groundswell.client.ledger import DAY, Ledger, verify
from groundswell.client.ledger_rows import Record, Restored, Sent, check
from groundswell.client.policy import SitePolicy
from groundswell.shared.errors import LedgerError, Refusal
from groundswell.shared.identity import SigningKey
from groundswell.shared.plan import Plan
from groundswell.shared.roster import Head

START = 1_750_000_000


@pytest.fixture
def path(
    tmp_path: Path,
    key: SigningKey,
    policy: SitePolicy,
    plan: Plan,
    admit: Callable[..., Admission],
    unmask: Callable[..., Unmasking],
) -> Path:
    """A closed ledger of 11 rows: opened, window, three attempts of three rows each."""
    path = tmp_path / "ledger.sqlite"
    ledger = Ledger.create(path, key, "site-1", policy, clock=lambda: START)
    release = plan.releases[1]
    for seq in (1, 2, 3):
        ledger.reserve(plan, release, admit(seq))
        ledger.sent(seq)
        ledger.closed(unmask(seq))
    ledger.close()
    return path


def edit(path: Path, *statements: str) -> None:
    connection = sqlite3.connect(path)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


def heads(path: Path) -> list[Head]:
    connection = sqlite3.connect(path)
    found = connection.execute("SELECT row, hash FROM events ORDER BY row").fetchall()
    connection.close()
    return [Head(row, digest) for row, digest in found]


def fails_closed(
    path: Path, key: SigningKey, policy: SitePolicy, known: Head | None = None
) -> None:
    with pytest.raises(LedgerError):
        Ledger.open(path, key, policy, known=(known,) if known else ())


def test_a_sound_ledger_has_no_problems(path: Path, key: SigningKey) -> None:
    checked = verify(path, key.public, (heads(path)[-1],))
    assert checked.problems == ()
    assert checked.tail_checked
    assert checked.head.row == 11
    assert not verify(path).tail_checked


TAMPERED = {
    "noise raised in a row": (
        "UPDATE events SET body = replace(body, '\"noise_multiplier\":', "
        "'\"noise_multiplier\":1') WHERE row = 3",
        "row 3",
    ),
    "one space added": ("UPDATE events SET body = body || ' ' WHERE row = 4", "row 4"),
    "body of no row": ("UPDATE events SET body = '{}' WHERE row = 5", "row 5"),
    "hash changed": ("UPDATE events SET hash = zeroblob(32) WHERE row = 6", "row 6"),
    "signature changed": ("UPDATE events SET signature = zeroblob(64) WHERE row = 7", "row 7"),
    "signature of another row": (
        "UPDATE events SET signature = (SELECT signature FROM events WHERE row = 3) WHERE row = 8",
        "row 8",
    ),
    "row removed": ("DELETE FROM events WHERE row = 6", "row 6 before it are missing"),
    "rows removed": ("DELETE FROM events WHERE row IN (4, 5)", "rows from 4 on"),
    "first row removed": ("DELETE FROM events WHERE row = 1", "row 1"),
    "row moved": ("UPDATE events SET row = 99 WHERE row = 11", "row 99"),
    "everything removed": ("DELETE FROM events", "no rows"),
}


@pytest.mark.parametrize("name", TAMPERED)
def test_tampering_is_named_and_fails_closed(
    name: str, path: Path, key: SigningKey, policy: SitePolicy
) -> None:
    statement, said = TAMPERED[name]
    edit(path, statement)
    problems = verify(path, key.public).problems
    assert any(said in problem for problem in problems), problems
    fails_closed(path, key, policy)


def test_swapped_rows_are_found(path: Path, key: SigningKey, policy: SitePolicy) -> None:
    edit(
        path,
        "UPDATE events SET row = 100 WHERE row = 5",
        "UPDATE events SET row = 5 WHERE row = 8",
        "UPDATE events SET row = 8 WHERE row = 100",
    )
    assert any("row 5" in problem for problem in verify(path, key.public).problems)
    fails_closed(path, key, policy)


def test_a_repeated_row_is_found(path: Path, key: SigningKey, policy: SitePolicy) -> None:
    edit(path, "INSERT INTO events SELECT 12, body, hash, signature FROM events WHERE row = 11")
    assert any("row 12" in problem for problem in verify(path, key.public).problems)
    fails_closed(path, key, policy)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(row=st.integers(0, 10), place=st.integers(0, 10_000), flip=st.integers(1, 127))
def test_any_changed_byte_of_any_row_is_found(
    path: Path, key: SigningKey, row: int, place: int, flip: int
) -> None:
    connection = sqlite3.connect(path)
    rows = connection.execute("SELECT row, body, hash, signature FROM events").fetchall()
    connection.close()
    records = [Record(*values) for values in rows]
    number, body, digest, signature = rows[row]
    whole = bytearray(body.encode() + digest + signature)
    whole[place % len(whole)] ^= flip
    text, tail = bytes(whole[: len(body)]), bytes(whole[len(body) :])
    try:
        records[row] = Record(number, text.decode(), tail[:32], tail[32:])
    except UnicodeDecodeError:
        return
    assert check(records, key.public).problems


def test_another_key_is_found_although_the_chain_is_whole(
    path: Path, tmp_path: Path, key: SigningKey, policy: SitePolicy
) -> None:
    """A ledger that somebody else wrote from the beginning."""
    forger = SigningKey.generate()
    forged = tmp_path / "forged.sqlite"
    Ledger.create(forged, forger, "site-1", policy).close()
    assert verify(forged).problems == ()
    assert any("signature" in problem for problem in verify(forged, key.public).problems)
    fails_closed(forged, key, policy)


@pytest.mark.parametrize("left", [2, 5, 10])
def test_a_truncated_ledger_is_found_against_heads_only(
    left: int, path: Path, key: SigningKey, policy: SitePolicy
) -> None:
    last = heads(path)[-1]
    edit(path, f"DELETE FROM events WHERE row > {left}")
    without = verify(path, key.public)
    assert without.problems == ()
    assert not without.tail_checked
    (problem,) = verify(path, key.public, (last,)).problems
    assert f"ends at row {left}" in problem
    assert "row 11" in problem
    fails_closed(path, key, policy, last)


def test_a_ledger_restored_from_a_copy_is_found(
    path: Path,
    tmp_path: Path,
    key: SigningKey,
    policy: SitePolicy,
    plan: Plan,
    admit: Callable[..., Admission],
) -> None:
    """The copy went its own way from row 11 on: same numbers, other rows."""
    copy = tmp_path / "copy.sqlite"
    shutil.copy(path, copy)
    for file, run in ((path, "ab" * 16), (copy, "cd" * 16)):
        ledger = Ledger.open(file, key, policy, clock=lambda: START)
        ledger.reserve(plan.model_copy(update={"run": run}), plan.releases[1], admit(4))
        ledger.close()
    seen = heads(path)[-1]
    (problem,) = verify(copy, key.public, (seen,)).problems
    assert "another row 12" in problem
    fails_closed(copy, key, policy, seen)


def test_a_row_that_the_site_itself_signs_must_still_make_sense(
    path: Path, key: SigningKey
) -> None:
    """Whoever holds the key can't close what was never sent, nor go on with a spent menu."""
    connection = sqlite3.connect(path)
    records = [
        Record(*values)
        for values in connection.execute("SELECT row, body, hash, signature FROM events")
    ]
    connection.close()
    extra = Record.sign(12, Sent(time=START, seq=77), records[-1].hash, key)
    assert any("attempt 77" in problem for problem in check([*records, extra]).problems)
    older = Record.sign(12, Sent(time=START - 1, seq=3), records[-1].hash, key)
    assert any("older" in problem for problem in check([*records, older]).problems)
    again = Record.sign(12, records[2].parse(), records[-1].hash, key)
    assert any("not above" in problem for problem in check([*records, again]).problems)


# --- restore -------------------------------------------------------------------------------------


def test_restore_charges_the_rest_of_the_window_and_satisfies_the_heads(
    path: Path,
    key: SigningKey,
    policy: SitePolicy,
    plan: Plan,
    admit: Callable[..., Admission],
) -> None:
    seen = heads(path)[-1]
    edit(path, "DELETE FROM events WHERE row > 5")
    ledger = Ledger.open(path, key, policy, clock=lambda: START + 100)
    before = ledger.spend()
    ledger.restore(seen, highest_seq=3)
    after = ledger.spend()
    price = policy.price()
    assert before.local.epsilon < after.local.epsilon <= price.eps_l + 1e-9
    assert after.reserved.epsilon == pytest.approx(price.eps_c, abs=1e-6)
    assert ledger.head().row == 12
    assert ledger.highest_seq == 3
    with pytest.raises(Refusal, match="over-budget"):
        ledger.reserve(plan, plan.releases[1], admit(4))
    with pytest.raises(Refusal, match="stale-seq"):
        ledger.reserve(plan, plan.releases[1], admit(3))
    ledger.close()
    assert verify(path, key.public, (seen,)).problems == ()
    Ledger.open(path, key, policy, known=(seen,)).close()


def test_after_a_restore_the_next_window_begins_anew(
    path: Path,
    key: SigningKey,
    policy: SitePolicy,
    plan: Plan,
    admit: Callable[..., Admission],
) -> None:
    now = [START + 100]
    ledger = Ledger.open(path, key, policy, clock=lambda: now[0])
    ledger.restore(None)
    now[0] += policy.window_days * DAY
    ledger.reserve(plan.model_copy(update={"run": "cd" * 16}), plan.releases[1], admit(4))
    assert ledger.spend().events == 1
    assert ledger.spend(lifetime=True).events == 1 + sum(entry.count for entry in policy.menu)
    ledger.close()
    assert verify(path, key.public).problems == ()


def test_a_late_restore_charges_every_window_that_may_have_been_open(
    path: Path, key: SigningKey, policy: SitePolicy
) -> None:
    late = START + int(2.5 * policy.window_days * DAY)
    ledger = Ledger.open(path, key, policy, clock=lambda: late)
    ledger.restore(None)
    assert ledger.spend(lifetime=True).events == 3 * sum(entry.count for entry in policy.menu)
    ledger.close()


def test_after_a_late_restore_no_event_is_paid_for_in_the_window_that_may_be_open(
    path: Path,
    key: SigningKey,
    policy: SitePolicy,
    plan: Plan,
    admit: Callable[..., Admission],
) -> None:
    """The lost rows may have opened a window after the last one that is left, and spent it."""
    now = [START + int(1.5 * policy.window_days * DAY)]
    other = plan.model_copy(update={"run": "cd" * 16})
    seen = Head(30, b"x" * 32)
    ledger = Ledger.open(path, key, policy, clock=lambda: now[0])
    ledger.restore(seen)
    whole = sum(entry.count for entry in policy.menu)
    assert ledger.spend().events == whole
    assert ledger.spend(lifetime=True).events == 2 * whole
    with pytest.raises(Refusal, match="over-budget"):
        ledger.reserve(other, plan.releases[1], admit(4))
    ledger.close()
    assert verify(path, key.public, (seen,)).problems == ()
    ledger = Ledger.open(path, key, policy, clock=lambda: now[0], known=(seen,))
    with pytest.raises(Refusal, match="over-budget"):
        ledger.reserve(other, plan.releases[1], admit(4))
    now[0] += policy.window_days * DAY
    ledger.reserve(other, plan.releases[1], admit(4))
    assert ledger.spend().events == 1
    ledger.close()


def test_a_backup_from_before_the_first_window_is_charged_by_the_sites_policy(
    path: Path,
    key: SigningKey,
    policy: SitePolicy,
    plan: Plan,
    admit: Callable[..., Admission],
) -> None:
    edit(path, "DELETE FROM events WHERE row > 1")
    ledger = Ledger.open(path, key, None, clock=lambda: START)
    with pytest.raises(LedgerError, match="no budget window"):
        ledger.restore(None)
    ledger.close()
    ledger = Ledger.open(path, key, policy, clock=lambda: START)
    ledger.restore(Head(11, b"x" * 32))
    assert ledger.spend().events == sum(entry.count for entry in policy.menu)
    with pytest.raises(Refusal, match="over-budget"):
        ledger.reserve(plan, plan.releases[1], admit(4))
    ledger.close()
    assert verify(path, key.public, (Head(11, b"x" * 32),)).problems == ()


def test_a_restore_does_not_excuse_a_head_it_does_not_name(
    path: Path, key: SigningKey, policy: SitePolicy
) -> None:
    seen = heads(path)
    edit(path, "DELETE FROM events WHERE row > 5")
    ledger = Ledger.open(path, key, policy, clock=lambda: START)
    ledger.restore(seen[8])
    row = verify(path).rows[-1][1]
    assert isinstance(row, Restored)
    ledger.close()
    assert verify(path, key.public, (seen[8], seen[7], seen[4])).problems == ()
    assert verify(path, key.public, (seen[10],)).problems
    assert verify(path, key.public, (Head(9, b"x" * 32),)).problems
