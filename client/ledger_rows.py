"""Rows of the privacy ledger: what they say, how they are chained and signed, how they are checked.

A row's body is JSON. Its hash is SHA-256 over the hash of the row before, the row number and the
body, and the site signs that hash. So a changed, missing, moved or added row is found without any
secret; that rows are missing at the *end* only a head kept elsewhere can tell.

    opened     the first row: whose ledger this is
    window     a budget window begins: its caps, delta and menu
    reserved   before the sample is drawn: the event counts as spent from here on, for ever
    sent       before the vector leaves the site
    closed     the survivors are confirmed: the central charge rests on their noise from now on
    restored   rows were lost; what they may have spent is charged
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from groundswell.client.menu import MenuEntry
from groundswell.shared.envelopes import verify
from groundswell.shared.identity import SigningKey
from groundswell.shared.plan import Hex32
from groundswell.shared.roster import Head

PURPOSE = "LedgerRow"
EMPTY = bytes(32)
VERSION = 1


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    time: int = Field(ge=0)  # Unix seconds, never below the row before


class Opened(_Row):
    """Whose ledger this is."""

    type: Literal["opened"] = "opened"
    version: int = VERSION
    site: str
    public_key: Hex32


class Window(_Row):
    """A budget window: from ``time`` up to ``end``, with a menu that was priced as a whole.

    Attributes:
        honest: n_min - c, the sites whose noise a reserve counts on, unless its entry of the menu
            says another n_min.
        colluders: c.
    """

    type: Literal["window"] = "window"
    number: int = Field(ge=1)
    end: int
    eps_c: float | None
    eps_l: float | None
    delta: float = Field(gt=0, lt=1)
    honest: int = Field(ge=1)
    colluders: int = Field(ge=0)
    menu: tuple[MenuEntry, ...]

    def honest_of(self, entry: MenuEntry) -> int:
        """The sites whose noise a reserve counts on that an entry of the menu pays for."""
        return entry.honest(self.colluders, self.honest)


class Reserved(_Row):
    """One event, charged before anything is computed for it.

    Attributes:
        entry: position of the menu entry of the window that pays for it.
        honest: n_min - c of the plan: what the central charge rests on until it is closed.
        colluders: merchants assumed to collude.
        sharers: U2, the sites whose masks may stand in the sum.
    """

    type: Literal["reserved"] = "reserved"
    window: int
    entry: int = Field(ge=0)
    run: str
    seq: int = Field(ge=1)
    round: int = Field(ge=0)
    kind: str
    mechanism: Literal["poisson-gaussian"] = "poisson-gaussian"
    noise_multiplier: float = Field(gt=0)
    sampling_rate: float = Field(gt=0, le=1)
    clip_norm: float = Field(gt=0)
    scale: int = Field(gt=0)
    dimension: int = Field(gt=0)
    max_nonzero: int = Field(gt=0)
    examples_per_user: int = Field(ge=1)
    n_min: int = Field(ge=2)
    colluders: int = Field(ge=0)
    honest: int = Field(ge=1)
    sharers: tuple[str, ...]
    plan: Hex32
    model: Hex32


class Sent(_Row):
    """The noised, masked vector is about to leave the site."""

    type: Literal["sent"] = "sent"
    seq: int


class Closed(_Row):
    """Survivors that at least t sites have signed.

    Attributes:
        survivors: U3, this site included.
        honest: survivors less the sites of the c largest merchants among them.
        signers: sites whose signatures over the survivors were checked.
    """

    type: Literal["closed"] = "closed"
    seq: int
    survivors: tuple[str, ...]
    honest: int = Field(ge=1)
    signers: tuple[str, ...]


class Restored(_Row):
    """Rows may be missing before this one; their windows are charged in full.

    Attributes:
        after: last row that is left.
        known: highest head that others had seen, None where nobody was asked.
        highest_seq: no attempt up to this one is answered any more.
        windows: further whole windows that the lost rows may have opened.
    """

    type: Literal["restored"] = "restored"
    after: int = Field(ge=1)
    known: tuple[int, Hex32] | None
    highest_seq: int = Field(ge=0)
    windows: int = Field(ge=0)


Row = Opened | Window | Reserved | Sent | Closed | Restored
_ROW: TypeAdapter[Row] = TypeAdapter(Annotated[Row, Field(discriminator="type")])


@dataclass(frozen=True)
class Record:
    """A row as it stands in the file."""

    number: int
    body: str
    hash: bytes
    signature: bytes = field(repr=False)

    def parse(self) -> Row:
        """The row; raises ``pydantic.ValidationError`` where the body is none."""
        return _ROW.validate_json(self.body)

    @classmethod
    def sign(cls, number: int, row: Row, before: bytes, key: SigningKey) -> Record:
        """The record of ``row``, chained to the hash of the row ``before``."""
        body = row.model_dump_json()
        digest = chain(before, number, body)
        return cls(number, body, digest, key.sign_bytes(PURPOSE, digest))


def chain(before: bytes, number: int, body: str) -> bytes:
    """SHA-256 of the hash before, the row number (8 bytes, little-endian) and the body."""
    return hashlib.sha256(before + number.to_bytes(8, "little") + body.encode()).digest()


@dataclass(frozen=True)
class Checked:
    """A ledger that was read and checked as far as it could be.

    Attributes:
        rows: number and row of each record that could be read.
        head: number and hash of the last record.
        problems: one sentence for each thing that is wrong; empty where the ledger is sound.
        tail_checked: whether a head kept elsewhere was there to compare with.
    """

    rows: tuple[tuple[int, Row], ...]
    head: Head
    problems: tuple[str, ...]
    tail_checked: bool


def check(
    records: Sequence[Record], public_key: bytes | None = None, known: Iterable[Head] = ()
) -> Checked:
    """Check chain, signatures, order and meaning of all rows.

    Args:
        records: in the order of their numbers.
        public_key: the site's, from its certificate; None takes what the first row says.
        known: heads that the coordinator or other sites have seen.
    """
    known = list(known)
    problems: list[str] = []
    rows: list[tuple[int, Row]] = []
    before, last = EMPTY, 0
    for record in records:
        row = _read(record, problems)
        if row is None:
            before, last = record.hash, record.number
            continue
        problems += _check_place(record, row, before, last)
        if public_key is None and isinstance(row, Opened):
            public_key = bytes.fromhex(row.public_key)
        if public_key is None or not verify(public_key, PURPOSE, record.hash, record.signature):
            problems.append(f"row {record.number}: the signature is not this site's")
        if isinstance(row, Opened) and bytes.fromhex(row.public_key) != public_key:
            problems.append(f"row {record.number}: names another key than the site's certificate")
        rows.append((record.number, row))
        before, last = record.hash, record.number
    if not records:
        problems.append("the ledger has no rows")
    problems += _check_meaning(rows)
    problems += _check_heads(records, rows, known)
    return Checked(tuple(rows), Head(last, before), tuple(problems), bool(known))


def _read(record: Record, problems: list[str]) -> Row | None:
    try:
        return record.parse()
    except ValidationError:
        problems.append(f"row {record.number}: the body is not that of a ledger row")
        return None


def _check_place(record: Record, row: Row, before: bytes, last: int) -> list[str]:
    """Whether the row stands where its hash says, after the row it was chained to."""
    found = []
    if record.number != last + 1 and not isinstance(row, Restored):
        missing = f"row {last + 1}" if record.number == last + 2 else f"rows from {last + 1} on"
        found.append(f"row {record.number}: {missing} before it are missing")
    if isinstance(row, Opened) != (last == 0):
        found.append(f"row {record.number}: a ledger begins with one opening row")
    if record.hash != chain(before, record.number, record.body):
        found.append(
            f"row {record.number}: body, number or the row before it were changed (hash chain)"
        )
    return found


def _check_meaning(rows: Sequence[tuple[int, Row]]) -> list[str]:
    """Whether each row may follow those before it, and is paid for by its window's menu."""
    found: list[str] = []
    reserved: dict[int, Reserved] = {}
    sent: set[int] = set()
    closed: set[int] = set()
    window: Window | None = None
    used: dict[int, int] = {}
    highest_seq = time = 0
    for number, row in rows:
        said: list[str] = []
        if row.time < time:
            said.append("is older than the row before it")
        time = max(time, row.time)
        if isinstance(row, Window):
            window, used = row, {}
        elif isinstance(row, Reserved):
            said += _check_reserved(row, window, used, highest_seq)
            used[row.entry] = used.get(row.entry, 0) + 1
            reserved[row.seq] = row
            highest_seq = max(highest_seq, row.seq)
        elif isinstance(row, Sent):
            if row.seq not in reserved or row.seq in sent or row.seq in closed:
                said.append(f"attempt {row.seq} was not just reserved")
            sent.add(row.seq)
        elif isinstance(row, Closed):
            attempt = reserved.get(row.seq)
            if attempt is None or row.seq not in sent or row.seq in closed:
                said.append(f"attempt {row.seq} was not just sent")
            elif problem := closing_problem(attempt, row):
                said.append(problem)
            closed.add(row.seq)
        elif isinstance(row, Restored):
            highest_seq = max(highest_seq, row.highest_seq)
            if window is not None:
                used = {position: entry.count for position, entry in enumerate(window.menu)}
        found += [f"row {number}: {problem}" for problem in said]
    return found


def _check_reserved(
    row: Reserved, window: Window | None, used: Mapping[int, int], highest_seq: int
) -> list[str]:
    found = []
    if row.seq <= highest_seq:
        found.append(f"attempt {row.seq} is not above all attempts before it")
    if window is None or row.window != window.number or not row.time < window.end:
        return [*found, "lies in no open budget window"]
    entry = window.menu[row.entry] if row.entry < len(window.menu) else None
    if entry is None or not entry.dominates(row.kind, row.noise_multiplier, row.sampling_rate):
        found.append("no menu entry of its window covers the event")
    elif used.get(row.entry, 0) >= entry.count:
        found.append("the window's menu was used up before it")
    least = window.honest if entry is None else window.honest_of(entry)
    if row.honest != row.n_min - row.colluders or row.honest < least:
        found.append("counts on fewer honest sites than its window")
    return found


def closing_problem(reserved: Reserved, closed: Closed) -> str:
    """What is wrong with the survivors of an attempt; empty where nothing is."""
    survivors = set(closed.survivors)
    if len(survivors) != len(closed.survivors) or not survivors <= set(reserved.sharers):
        return f"the survivors of attempt {closed.seq} are not among its sharers"
    if not set(closed.signers) <= survivors:
        return f"a signer of attempt {closed.seq} is no survivor"
    if not reserved.honest <= closed.honest <= max(1, len(survivors) - reserved.colluders):
        return f"{closed.honest} honest sites don't follow from attempt {closed.seq}'s survivors"
    return ""


def _check_heads(
    records: Sequence[Record], rows: Sequence[tuple[int, Row]], known: Sequence[Head]
) -> list[str]:
    """Whether what others have seen still stands: truncated and restored ledgers fail here."""
    hashes = {record.number: record.hash for record in records}
    last = records[-1].number if records else 0
    owned = [(row.after, number, row.known) for number, row in rows if isinstance(row, Restored)]
    found = []
    for head in known:
        if head.row == 0 or hashes.get(head.row) == head.hash:
            continue
        # A restored row that names the lost head, or a later one, has charged for it.
        if any(
            said is not None
            and after < head.row < number
            and (head.row < said[0] or (head.row, head.hash.hex()) == said)
            for after, number, said in owned
        ):
            continue
        if head.row > last:
            found.append(
                f"the ledger ends at row {last}, but others have seen row {head.row}: it was "
                "truncated or restored"
            )
        else:
            found.append(
                f"row {head.row}: others have seen another row {head.row}; the ledger was restored "
                "or rewritten"
            )
    return found
