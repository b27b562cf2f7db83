"""Whatever bytes arrive, a site answers with a reply or a code, and the coordinator goes on."""

from __future__ import annotations

import re

import numpy as np
import pytest
from google.protobuf.message import Message
from hypothesis import given, settings
from hypothesis import strategies as st

from groundswell.server.unmasking import SecureTotal
from groundswell.shared.envelopes import parse, serialise
from groundswell.shared.errors import AttemptVoid
from groundswell.shared.wire import groundswell_pb2 as wire
from groundswell.simulation.secure_sites import SumFederation, exchange_with

pytestmark = pytest.mark.fuzz
NOW = 1_700_000_000
NAMES = ("east", "north", "south", "west")
CODE = re.compile(r"[a-z]+(-[a-z]+)*")
PHASES = 5


def federation() -> SumFederation:
    return SumFederation.create({name: np.arange(4) for name in NAMES}, now=NOW)


@st.composite
def damages(draw: st.DrawFn) -> list[tuple[int, int, bytes]]:
    """Up to four edits: a position, how many bytes go there, and what comes in their place."""
    edit = st.tuples(st.integers(0, 5000), st.integers(0, 40), st.binary(max_size=20))
    return draw(st.lists(edit, min_size=1, max_size=4))


def damaged(data: bytes, edits: list[tuple[int, int, bytes]]) -> bytes:
    for position, length, new in edits:
        at = position % (len(data) + 1)
        data = data[:at] + new + data[at + length :]
    return data


@settings(max_examples=200, deadline=None)
@given(st.integers(0, PHASES - 1), st.one_of(damages(), st.binary(max_size=300)))
def test_a_site_answers_any_bytes_with_a_reply_or_a_code(
    phase: int, change: list[tuple[int, int, bytes]] | bytes
) -> None:
    """At each phase: the request that is due, damaged, or bytes of any kind."""
    fed = federation()
    _, requests = fed.until(phase)
    due = serialise(requests["north"])
    data = change if isinstance(change, bytes) else damaged(due, change)
    reply = parse(wire.VaultReply, fed.sites["north"].handle(data))
    assert reply.WhichOneof("reply") is not None
    if reply.HasField("refused"):
        assert CODE.fullmatch(reply.refused.code)


def mutate(message: Message, draw: st.DrawFn) -> None:
    """Change one field somewhere in a message, whatever it holds."""
    fields = message.ListFields()
    if not fields:
        return
    descriptor, value = draw(st.sampled_from(fields))
    if descriptor.is_repeated:
        kind = draw(st.integers(0, 2))
        if kind == 0:
            message.ClearField(descriptor.name)
        elif kind == 1:
            value.pop(draw(st.integers(0, len(value) - 1)))
        elif isinstance(value[0], Message):
            mutate(value[draw(st.integers(0, len(value) - 1))], draw)
    elif isinstance(value, Message):
        if draw(st.booleans()):
            mutate(value, draw)
        else:
            message.ClearField(descriptor.name)
    else:
        new = {
            bytes: st.binary(max_size=80),
            str: st.text(max_size=10),
            int: st.integers(0, 2**31 - 1),
        }[type(value)]
        message.MergeFrom(type(message)(**{descriptor.name: draw(new)}))


@st.composite
def mutations(draw: st.DrawFn, message: Message) -> None:
    """Changes ``message`` in place when drawn."""
    mutate(message, draw)


def outcome(
    fed: SumFederation, edited: set[tuple[int, str]], data: st.DataObject
) -> SecureTotal | str:
    """One attempt in which some replies are edited: its total, or the code of why it is void."""
    attempt = fed.attempt()
    requests = next(attempt)
    phase = 0
    try:
        while True:
            replies = exchange_with(fed.sites)(requests)
            for name, reply in replies.items():
                if (phase, name) in edited:
                    data.draw(mutations(reply))
            requests = attempt.send(replies)
            phase += 1
    except StopIteration as stop:
        total: SecureTotal = stop.value
        return total
    except AttemptVoid as void:
        return void.code


@settings(max_examples=200, deadline=None)
@given(
    st.sets(st.tuples(st.integers(0, PHASES - 1), st.sampled_from(NAMES)), min_size=1, max_size=3),
    st.data(),
)
def test_the_coordinator_takes_any_reply_and_gives_an_exact_sum_or_voids(
    edited: set[tuple[int, str]], data: st.DataObject
) -> None:
    fed = federation()
    result = outcome(fed, edited, data)
    if isinstance(result, str):
        assert CODE.fullmatch(result)
    else:
        assert np.array_equal(result.total, fed.expected(result.survivors))
