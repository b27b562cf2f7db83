"""Written times: the fast way and the thorough way read the same, each text by itself."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from groundswell.client.sources.times import read_times

NAIVE = st.datetimes(datetime(1990, 1, 1), datetime(2030, 1, 1)).map(
    lambda moment: moment.replace(microsecond=moment.microsecond // 1000 * 1000)
)
OFFSETS = st.integers(-48, 48).map(lambda quarters: timezone(timedelta(minutes=15 * quarters)))
WRITTEN = st.one_of(
    NAIVE.map(lambda m: (m.isoformat(" "), m.replace(tzinfo=UTC), False)),
    NAIVE.map(lambda m: (m.isoformat(), m.replace(tzinfo=UTC), False)),
    NAIVE.map(lambda m: (f"{m:%Y/%m/%d %H:%M}", _minute(m).replace(tzinfo=UTC), False)),
    NAIVE.map(lambda m: (f"{m:%Y-%m-%d}", _day(m).replace(tzinfo=UTC), False)),
    NAIVE.map(lambda m: (m.isoformat() + "Z", m.replace(tzinfo=UTC), True)),
    st.builds(lambda m, z: (m.replace(tzinfo=z).isoformat(), m.replace(tzinfo=z), True),
              NAIVE, OFFSETS),
    NAIVE.map(lambda m: (str(int(_second(m).timestamp())), _second(m), True)),
    st.sampled_from([("soon", None, False), ("2026-13-01", None, False), ("", None, False)]),
)  # fmt: skip


def _minute(moment: datetime) -> datetime:
    return moment.replace(second=0, microsecond=0)


def _day(moment: datetime) -> datetime:
    return moment.replace(hour=0, minute=0, second=0, microsecond=0)


def _second(moment: datetime) -> datetime:
    return moment.replace(microsecond=0, tzinfo=UTC)


@settings(max_examples=100, deadline=None)
@given(st.lists(WRITTEN, min_size=1, max_size=12))
def test_any_mixture_of_forms_is_read_text_by_text(
    rows: list[tuple[str, datetime | None, bool]],
) -> None:
    frame = pl.DataFrame({"text": [text for text, _, _ in rows]})
    read = frame.select(read_times(pl.col("text"), "UTC").alias("read")).unnest("read")
    assert read["time"].to_list() == [moment for _, moment, _ in rows]
    known = [(zoned, row[2]) for zoned, row in zip(read["zoned"], rows, strict=True) if row[1]]
    assert [zoned for zoned, _ in known] == [expected for _, expected in known]
