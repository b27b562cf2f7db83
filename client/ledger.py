"""The privacy ledger of one site: every release is charged here before anything is computed.

Reserved counts as spent for ever; a closed row only says on whose noise the central charge rests.
Whatever goes wrong (a damaged row, a write that fails, another writer) ends in ``LedgerError``, and
a site whose ledger fails releases nothing. Source: design section 5.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from groundswell.client.attempt import Admission, Unmasking
from groundswell.client.ledger_file import LedgerFile, read_records
from groundswell.client.ledger_rows import (
    Checked,
    Closed,
    Opened,
    Record,
    Reserved,
    Restored,
    Row,
    Sent,
    Window,
    check,
    closing_problem,
)
from groundswell.client.ledger_state import LedgerState
from groundswell.client.policy import SitePolicy
from groundswell.client.spending import Spend, spend
from groundswell.shared.errors import LedgerError, Refusal
from groundswell.shared.identity import SigningKey
from groundswell.shared.plan import Plan, PlannedRelease
from groundswell.shared.roster import Head

__all__ = ["Ledger", "verify"]

DAY = 86_400


class Ledger:
    """A site's ledger, open for writing.

    Args:
        file: the open file.
        key: the site's signing key.
        policy: the site's rules; None where the ledger is opened only to be restored.
        clock: Unix seconds; a clock that runs backwards stands still here.
        known: heads of this ledger that others have seen.
    """

    def __init__(
        self,
        file: LedgerFile,
        key: SigningKey,
        policy: SitePolicy | None,
        *,
        clock: Callable[[], float] = time.time,
        known: tuple[Head, ...] = (),
    ) -> None:
        self._file = file
        self._key = key
        self._policy = policy
        self._clock = clock
        self._lock = threading.RLock()
        self._broken = ""
        checked = check(file.records(), key.public, known)
        if checked.problems:
            raise LedgerError("; ".join(checked.problems[:5]))
        self._state = LedgerState()
        for number, row in checked.rows:
            self._state.take(number, row)
        self._head = checked.head

    @classmethod
    def create(
        cls,
        path: Path,
        key: SigningKey,
        site: str,
        policy: SitePolicy,
        *,
        clock: Callable[[], float] = time.time,
    ) -> Ledger:
        """Begin a ledger in a file that must not exist yet.

        Raises:
            LedgerError: the file exists or can't be written.
        """
        file = LedgerFile(path, create=True)
        opened = Opened(time=int(clock()), site=site, public_key=key.public.hex())
        file.append(0, Record.sign(1, opened, bytes(32), key))
        return cls(file, key, policy, clock=clock)

    @classmethod
    def open(
        cls,
        path: Path,
        key: SigningKey,
        policy: SitePolicy | None,
        *,
        clock: Callable[[], float] = time.time,
        known: tuple[Head, ...] = (),
    ) -> Ledger:
        """Open and check a ledger.

        Raises:
            LedgerError: missing, damaged, tampered with, or behind a head in ``known``.
        """
        file = LedgerFile(path, create=False)
        try:
            return cls(file, key, policy, clock=clock, known=known)
        except LedgerError as error:
            file.close()
            raise LedgerError(f"ledger {path}: {error}") from error

    def __repr__(self) -> str:
        return f"Ledger(row {self._head.row})"

    def head(self) -> Head:
        """Number and hash of the last row: what rides in every signed advertisement."""
        return self._head

    @property
    def highest_seq(self) -> int:
        """The highest attempt ever reserved here; an attempt up to it is never answered again."""
        return self._state.highest_seq

    def used(self, *, apart_from: str = "") -> dict[str, int]:
        """Events in the window that is open now, by ``MenuEntry.account``.

        Args:
            apart_from: a run whose own events don't count: its plan was accepted with all of them.
        """
        window = self._state.open_window(self._now())
        return dict(self._state.used_by_account(window, apart_from=apart_from)) if window else {}

    def spend(self, *, lifetime: bool = False) -> Spend:
        """What the current window has spent, or all windows together; from the rows, each time."""
        if lifetime:
            return spend(self._state.rows)
        window = self._state.open_window(self._now())
        return spend(self._state.rows, window.number if window else 0)

    def reserve(self, plan: Plan, release: PlannedRelease, admission: Admission) -> None:
        """Charge one event, before its sample is drawn.

        Raises:
            Refusal: what the site's policy, the window's menu or the plan does not allow; nothing
                is written then.
            LedgerError: the ledger failed; nothing may leave the site.
        """
        with self._lock:
            self._check_sound()
            policy = self._policy
            if policy is None:
                raise LedgerError("the ledger was opened without a policy, to be restored only")
            entries = [policy.menu[each] for each in policy.authorise(release, plan)]
            self._state.check_attempt(plan, release, admission)
            least = min(policy.least_roster_of(entry) for entry in entries)
            if len(admission.sharers) < least:
                raise Refusal(
                    "roster-too-small",
                    f"{len(admission.sharers)} sites are below the site's {least}",
                )
            now = self._now()
            window = self._window_for(policy, now)
            row = Reserved(
                time=now,
                window=window.number,
                entry=self._state.paying_entry(window, policy, plan, release, admission),
                run=plan.run,
                seq=admission.seq,
                round=admission.round,
                kind=release.kind,
                noise_multiplier=release.noise_multiplier,
                sampling_rate=release.sampling_rate,
                clip_norm=release.clip_norm,
                scale=release.scale,
                dimension=release.dimension,
                max_nonzero=release.max_nonzero,
                examples_per_user=plan.examples_per_user,
                n_min=plan.n_min,
                colluders=plan.colluders,
                honest=plan.n_min - plan.colluders,
                sharers=admission.sharers,
                plan=plan.hash().hex(),
                model=admission.model_hash.hex(),
            )
            self._append(row)

    def sent(self, seq: int) -> None:
        """Note that the vector of an attempt is about to leave; a repeat changes nothing.

        Raises:
            LedgerError: the attempt was never reserved, or the ledger failed.
        """
        with self._lock:
            self._check_sound()
            if seq in self._state.sent:
                return
            if seq not in self._state.reserved:
                raise LedgerError(f"attempt {seq} was never reserved")
            self._append(Sent(time=self._now(), seq=seq))

    def closed(self, unmasking: Unmasking) -> None:
        """Let the central charge of an attempt rest on its confirmed survivors.

        Written before a share of it is revealed. A repeat changes nothing.

        Raises:
            Refusal: ``conflicting-request``, other survivors than before.
            LedgerError: the attempt was not sent, its survivors don't follow from its sharers, or
                the ledger failed.
        """
        with self._lock:
            self._check_sound()
            seq = unmasking.seq
            reserved = self._state.reserved.get(seq)
            if reserved is None or seq not in self._state.sent:
                raise LedgerError(f"attempt {seq} was not sent")
            row = Closed(
                time=self._now(),
                seq=seq,
                survivors=tuple(sorted(unmasking.survivors)),
                honest=unmasking.honest,
                signers=tuple(sorted(site for site, _ in unmasking.confirmations)),
            )
            before = self._state.closed.get(seq)
            if before is not None:
                if before.survivors != row.survivors:
                    raise Refusal(
                        "conflicting-request", f"attempt {seq} was closed with other survivors"
                    )
                return
            problem = closing_problem(reserved, row)
            if problem:
                raise LedgerError(problem)
            self._append(row)

    def restore(self, known: Head | None, highest_seq: int = 0) -> None:
        """Charge the rest of the window, because rows may have been lost.

        To be called on a ledger that came from a backup. Every window that the lost rows may have
        opened is charged in full, and no event is paid for until the next window. One of them may
        still be open: where the last window that is left has ended, another one begins here, with
        its menu, and is charged in full too. Where none is left, the site's policy says its menu.

        Args:
            known: the highest head that the coordinator or another site has seen.
            highest_seq: the highest attempt that others know of.

        Raises:
            LedgerError: no window is left, and the ledger was opened without a policy.
        """
        with self._lock:
            self._check_sound()
            now, window, policy = self._now(), self._state.window, self._policy
            if window is None and policy is None:
                raise LedgerError(
                    "holds no budget window, so that what was lost can't be charged: name the "
                    "site's policy"
                )
            number = max(self._head.row, known.row if known else 0) + 1
            if self._state.open_window(now) is None:
                # The lost rows' own windows first; then the one that may be open now.
                ended = 0 if window is None else now - window.end
                length = 1 if window is None else window.end - window.time
                self._append_restored(known, highest_seq, ended // length, number)
                if window is not None:
                    update = {"time": now, "number": window.number + 1, "end": now + length}
                    self._append(window.model_copy(update=update))
                elif policy is not None:
                    self._append(_window(policy, now, 1))
                known, number = None, self._head.row + 1
            self._append_restored(known, highest_seq, 0, number)

    def _append_restored(
        self, known: Head | None, highest_seq: int, windows: int, number: int
    ) -> None:
        row = Restored(
            time=self._now(),
            after=self._head.row,
            known=(known.row, known.hash.hex()) if known else None,
            highest_seq=max(highest_seq, self._state.highest_seq),
            windows=windows,
        )
        self._append(row, number)

    def peer_heads(self) -> dict[str, Head]:
        """The highest ledger head that this site has seen of each other one."""
        with self._lock:
            found = self._file.note("heads")
            heads = {}
            for site, value in found.items():
                if not (isinstance(value, list) and len(value) == 2):
                    raise LedgerError(f"the noted head of {site} is damaged")
                heads[site] = Head(int(value[0]), bytes.fromhex(str(value[1])))
            return heads

    def keep_peer_heads(self, heads: Mapping[str, Head]) -> None:
        """Note the heads of other sites; they are not part of the chain."""
        with self._lock:
            noted: dict[str, object] = {
                site: [head.row, head.hash.hex()] for site, head in heads.items()
            }
            if noted != self._file.note("heads"):
                self._file.keep_note("heads", noted)

    def least_revocations(self) -> int:
        """The number of the newest revocation list that this site has seen."""
        with self._lock:
            found = self._file.note("revocations").get("number", 0)
            if not isinstance(found, int):
                raise LedgerError("the noted number of the revocation list is damaged")
            return found

    def keep_least_revocations(self, number: int) -> None:
        """Note the number of a revocation list, if it is newer."""
        with self._lock:
            if number > self.least_revocations():
                self._file.keep_note("revocations", {"number": number})

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._broken = self._broken or "the ledger was closed"
            self._file.close()

    # --- writing ------------------------------------------------------------------------------

    def _window_for(self, policy: SitePolicy, now: int) -> Window:
        """The open window; a new one begins only with a menu that meets its caps."""
        window = self._state.open_window(now)
        if window is not None:
            return window
        policy.check_menu()
        window = _window(policy, now, self._state.window.number + 1 if self._state.window else 1)
        self._append(window)
        return window

    def _now(self) -> int:
        return max(self._state.time, int(self._clock()))

    def _check_sound(self) -> None:
        if self._broken:
            raise LedgerError(self._broken)

    def _append(self, row: Row, number: int | None = None) -> None:
        number = number or self._head.row + 1
        record = Record.sign(number, row, self._head.hash, self._key)
        try:
            self._file.append(self._head.row, record)
        except LedgerError as error:
            self._broken = str(error)
            raise
        self._state.take(number, row)
        self._head = Head(number, record.hash)


def _window(policy: SitePolicy, now: int, number: int) -> Window:
    """A window that begins now, under a policy's menu and caps."""
    return Window(
        time=now,
        number=number,
        end=now + policy.window_days * DAY,
        eps_c=policy.eps_c,
        eps_l=policy.eps_l,
        delta=policy.delta,
        honest=policy.honest,
        colluders=policy.colluders,
        menu=policy.menu,
    )


def verify(path: Path, public_key: bytes | None = None, known: tuple[Head, ...] = ()) -> Checked:
    """Check a ledger file without writing to it, and without a secret.

    Args:
        path: the SQLite file.
        public_key: the site's, from its certificate; None takes what the first row says.
        known: heads that others have seen; without them the tail can't be checked.

    Raises:
        LedgerError: no such file, or not a ledger at all.
    """
    return check(read_records(path), public_key, known)
