"""What a masked vector tells: nothing, as long as the self-mask is there.

The chi-square tests draw real randomness; each fails by chance once in about 10^9 runs.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from groundswell.client.attempt import Attempt
from groundswell.server.unmasking import drive
from groundswell.shared.envelopes import parse, serialise
from groundswell.shared.masks import agree, apply_masks, digest, private_key
from groundswell.shared.secure_sum import mask_context, pair_key
from groundswell.shared.shamir import combine
from groundswell.shared.wire import groundswell_pb2 as wire
from groundswell.simulation.secure_sites import SumFederation, exchange_with

NOW = 1_700_000_000
NAMES = ("east", "north", "south", "west")
DIMENSION = 1 << 15
CONTRIBUTE, CONFIRM = 2, 3

# Of 255 degrees of freedom: mean 255, deviation 22.6; 420 is exceeded with p < 1e-9.
LARGEST_CHI_SQUARE = 420.0


def federation(dimension: int = DIMENSION) -> SumFederation:
    # A vector that would show at once: the same small number everywhere.
    return SumFederation.create(
        {name: np.full(dimension, 7, dtype=np.int64) for name in NAMES}, now=NOW
    )


def masked_vector(reply: wire.VaultReply) -> NDArray[np.uint64]:
    return np.frombuffer(reply.contributed.vector, dtype="<u8")


def chi_square(octets: NDArray[np.uint8]) -> float:
    """Pearson's statistic of the octets against the uniform distribution, 255 degrees."""
    counts = np.bincount(octets, minlength=256)
    expected = len(octets) / 256
    return float(((counts - expected) ** 2 / expected).sum())


def test_masked_vectors_and_the_difference_of_two_contexts_are_uniform() -> None:
    fed = federation()
    vectors = []
    for _ in range(2):
        attempt = fed.attempt()
        requests = next(attempt)
        while not requests["north"].HasField("contribute"):
            requests = attempt.send(exchange_with(fed.sites)(requests))
        replies = exchange_with(fed.sites)(requests)
        vectors.append({name: masked_vector(replies[name]) for name in NAMES})
        fed.coordinator._prepared = None
    for name in NAMES:
        difference = vectors[1][name] - vectors[0][name]
        for words in (vectors[0][name], vectors[1][name], difference):
            # Each of the eight octets of a word on its own, lowest first.
            for octet in words.view(np.uint8).reshape(-1, 8).T:
                assert chi_square(octet) < LARGEST_CHI_SQUARE
    # Between sites of one context as well: pair masks alone would show in the sum of two.
    both = vectors[0]["north"] + vectors[0]["south"]
    assert chi_square(both.view(np.uint8)) < LARGEST_CHI_SQUARE


def test_the_statistic_finds_a_vector_without_masks() -> None:
    plain = np.full(DIMENSION, 7, dtype=np.uint64)
    assert chi_square(plain.view(np.uint8)) > LARGEST_CHI_SQUARE


def late_vector_attack(fed: SumFederation) -> NDArray[np.int64]:
    """What the server makes of a vector that arrives after its site was declared dead.

    The script: keep the vector of south back, go on as if south were dead, and have the others
    reveal the seed of its pair masks. Then take these masks off the late vector.
    """
    attempt, requests = fed.until(CONTRIBUTE)
    replies = exchange_with(fed.sites)(requests)
    late = masked_vector(replies.pop("south")).copy()
    requests = attempt.send(replies)
    requests = attempt.send(exchange_with(fed.sites)(requests))
    shares: dict[int, bytes] = {}
    roster = fed.sites["north"].masking._attempts[1].known_roster()
    for name, reply in exchange_with(fed.sites)(requests).items():
        if not reply.HasField("unmasked"):
            continue
        for each in parse(wire.Unmasked, reply.unmasked.body).shares:
            if each.site == "south":
                assert not each.self_mask
                shares[roster.position(name)] = each.mask_seed
    seed = combine(shares, fed.terms.threshold, lambda _: True)
    assert seed is not None
    private = private_key(seed)
    model = digest("model", b"model")
    context = mask_context(fed.terms, 1, roster.hash, "gradient", 1, model)
    keys = {
        other: pair_key(agree(private, roster.members[other].mask_key), context, "south", other)
        for other in NAMES
        if other != "south"
    }
    apply_masks(
        late,
        [key for other, key in keys.items() if other < "south"],
        [key for other, key in keys.items() if other > "south"],
    )
    return late.view(np.int64)


def test_a_late_vector_stays_hidden() -> None:
    found = late_vector_attack(federation())
    assert chi_square(found.view(np.uint8)) < LARGEST_CHI_SQUARE


def test_without_the_self_mask_the_same_attack_reads_the_vector(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Attempt, "self_keys", lambda self: [])
    fed = federation()
    assert np.array_equal(late_vector_attack(fed), fed.vectors["south"])


OTHER_RELEASES: dict[str, Callable[[wire.ContributeRequest], None]] = {
    "kind": lambda request: setattr(request, "kind", "evaluation"),
    "round": lambda request: setattr(request, "round", 2),
    "model": lambda request: setattr(request, "model", b"another"),
}


@pytest.mark.parametrize("changed", OTHER_RELEASES)
def test_a_site_that_was_asked_for_another_release_does_not_count_as_noise(changed: str) -> None:
    """The server asks south, which need not sign, for a release with less noise.

    t of the others sign survivors that hold south, and charge themselves as if south's noise were
    that of the release. South's vector must not cancel with theirs.
    """
    fed = federation()
    attempt, requests = fed.until(CONTRIBUTE)
    OTHER_RELEASES[changed](requests["south"].contribute)
    requests = attempt.send(exchange_with(fed.sites)(requests))
    del requests["south"]
    requests = attempt.send(exchange_with(fed.sites)(requests))
    del requests["south"]
    with pytest.raises(StopIteration) as ended:
        attempt.send(exchange_with(fed.sites)(requests))
    total: NDArray[np.int64] = ended.value.value.total
    assert chi_square(total.view(np.uint8)) < LARGEST_CHI_SQUARE


def test_the_two_secrets_of_a_site_are_never_both_revealed() -> None:
    fed = federation(4)
    attempt, requests = fed.until(CONTRIBUTE)
    replies = exchange_with(fed.sites)(requests)
    del replies["south"]
    requests = attempt.send(replies)
    requests = attempt.send(exchange_with(fed.sites)(requests))
    for reply in exchange_with(fed.sites)(requests).values():
        if reply.HasField("unmasked"):
            kinds = {
                each.site: each.WhichOneof("share")
                for each in parse(wire.Unmasked, reply.unmasked.body).shares
            }
            assert kinds == {
                "east": "self_mask",
                "north": "self_mask",
                "south": "mask_seed",
                "west": "self_mask",
            }


def vector_of(fed: SumFederation, name: str, seq: int) -> NDArray[np.int64]:
    return fed.vectors[name]


def test_no_secret_and_no_vector_stands_on_the_wire() -> None:
    """Every reply of two whole attempts, against everything that a site keeps to itself."""
    fed = federation(64)
    for index, name in enumerate(NAMES):
        pattern = hashlib.sha256(bytes([index])).digest()[:7] + b"\0"
        fed.vectors[name] = np.frombuffer(pattern * 64, dtype="<i8").astype(np.int64)
    for name in NAMES:
        fed.sites[name].vector = functools.partial(vector_of, fed, name)
    captured: list[bytes] = []
    secrets: set[bytes] = set()

    def exchange(requests: dict[str, wire.VaultRequest]) -> dict[str, wire.VaultReply]:
        replies = exchange_with(fed.sites)(requests)
        captured.extend(serialise(reply) for reply in replies.values())
        captured.extend(serialise(request) for request in requests.values())
        for site in fed.sites.values():
            for kept in site.masking._attempts.values():
                secrets.update((kept.self_mask, kept.mask_seed, kept.channel.private_bytes_raw()))
                secrets.update(kept.channel_secrets.values())
        return replies

    for _ in range(2):
        total = drive(fed.attempt(), exchange)
        assert np.array_equal(total.total, fed.expected(NAMES))
    for member in fed.consortium.members.values():
        secrets.add(member.key._private.private_bytes_raw())
    everything = b"".join(captured)
    assert len(secrets) > 24
    for secret in secrets:
        assert secret not in everything
    for vector in fed.vectors.values():
        assert vector[:1].astype("<i8").tobytes() not in everything
