"""What leaves a site, exhaustively: a whole federation's wire, each byte of it accounted for.

Four sites with real vaults, ledgers and users release statistics, train, evaluate and refresh. All
that passed between them and the coordinator was kept.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from google.protobuf.message import Message

from groundswell.client.ledger import Ledger
from groundswell.client.vault import Vault
from groundswell.server.rounds import Outcome
from groundswell.shared.backbone import load_backbone
from groundswell.shared.config_file import load_config
from groundswell.shared.envelopes import parse
from groundswell.shared.events import SCHEMA
from groundswell.shared.plan import Plan
from groundswell.shared.roster import HASH_BYTES, RUN_BYTES
from groundswell.shared.shamir import SHARE_BYTES
from groundswell.shared.spec import ModelSpec
from groundswell.shared.transfer import ModelState
from groundswell.shared.wire import groundswell_pb2 as wire
from groundswell.simulation import audit_data
from groundswell.simulation.datasets.dataset import Dataset
from groundswell.simulation.federated import run_in_process
from groundswell.simulation.setting import Setting
from groundswell.simulation.vaults import VaultRecipe

SITES, USERS = 4, 7
SEARCH = "a gift for my neighbour Ruth"
AEAD_TAG_BYTES = 16

# The message in each signed body, by the path of the field that holds it.
BODIES: Mapping[str, type[Message]] = {
    "joined": wire.Joined,
    "advertised": wire.Advertisement,
    "shared": wire.Shares,
    "contributed.signed": wire.ContributionBody,
    "confirmed.confirmation": wire.ConfirmationBody,
    "confirmed.advertisement": wire.Advertisement,
    "unmasked": wire.Unmasked,
    "finished": wire.Finished,
    "certificate": wire.CertificateBody,
}

# Every value that may leave a site, by field: bytes of one length, or what the text or number says.
LENGTHS = {
    "run": RUN_BYTES,
    "plan_hash": HASH_BYTES,
    "model_hash": HASH_BYTES,
    "roster_hash": HASH_BYTES,
    "sharers_hash": HASH_BYTES,
    "vector_hash": HASH_BYTES,
    "head.hash": HASH_BYTES,
    "commitment": 32,
    "channel_key": 32,
    "mask_key": 32,
    "public_key": 32,
    "signature": 64,
    "self_mask": SHARE_BYTES,
    "mask_seed": SHARE_BYTES,
    "ciphertext": 2 * SHARE_BYTES + AEAD_TAG_BYTES,
}
SITE_NAMES = {"survivors", "sender", "recipient", "site", "name", "merchant"}


@dataclass(frozen=True)
class Captured:
    """What a run left.

    ``replies`` holds site and bytes of each; ``secrets`` texts that no reply may hold.
    """

    plan: Plan
    setting: Setting
    model: ModelState
    replies: list[tuple[str, bytes]]
    secrets: list[bytes]


def searching(dataset: Dataset) -> Dataset:
    """The same with a search of the first user of each site, in that user's own words."""
    sites = {}
    for name, frame in dataset.sites.items():
        first = frame.row(0, named=True)
        row = {**first, "action": "search", "label": None, "text": SEARCH}
        both = pl.concat([frame, pl.DataFrame([row], schema=SCHEMA)])
        sites[name] = both.sort("user", "time", "label")
    return Dataset(
        dataset.name, sites, dataset.catalogue, dataset.task, dataset.times, generated=True
    )


@pytest.fixture(scope="module")
def captured(tmp_path_factory: pytest.TempPathFactory) -> Captured:
    chosen = {"privacy.eps_l": 50.0, "train.rounds": 2, "train.evaluations": 1}
    config = load_config(None, chosen).config
    dataset = searching(audit_data.invent(SITES, USERS, np.random.default_rng(0)))
    setting = Setting.build(config, dataset, 0)
    plan = setting.plan(config, ModelSpec())
    replies: list[tuple[str, bytes]] = []

    class Heard(Vault):
        def handle(self, data: bytes) -> bytes:
            reply = super().handle(data)
            replies.append((self.name, reply))
            return reply

    def opened(recipe: VaultRecipe, ledger: Ledger) -> Vault:
        return recipe.vault(ledger, recipe.data(setting.backbone), Heard)

    folder: Path = tmp_path_factory.mktemp("run")
    with run_in_process(setting, plan, folder, seed=0, open_vault=opened) as running:
        assert running.report.outcome is Outcome.FINISHED
        model = running.model
    users = {user for frame in dataset.sites.values() for user in frame["user"]}
    pseudonyms = setting.sites.pooled.histories.users
    texts = [*users, *pseudonyms, *dataset.catalogue.labels, "Ruth", "neighbour"]
    return Captured(plan, setting, model, replies, [text.encode() for text in texts])


def values(message: Message, path: str = "") -> Iterator[tuple[str, object]]:
    """Every value in a message with the path of its field, through all signed bodies."""
    for field, value in message.ListFields():
        name = f"{path}.{field.name}" if path else field.name
        for each in value if field.is_repeated else [value]:
            if not isinstance(each, Message):
                yield name, each
            elif isinstance(each, wire.Signed):
                yield f"{name}.signature", each.signature
                kind = BODIES["certificate" if name.endswith("certificate") else name]
                body = parse(kind, each.body)
                assert_nothing_rides_along(body)
                yield from values(body, name)
            else:
                yield from values(each, name)


def assert_nothing_rides_along(message: Message) -> None:
    """No bytes outside the known fields."""
    whole = message.SerializeToString(deterministic=True)
    message.DiscardUnknownFields()
    assert message.SerializeToString(deterministic=True) == whole


def test_every_value_on_the_wire_is_one_that_may_leave_a_site(captured: Captured) -> None:
    plan, names = captured.plan, set(captured.setting.sites.names)
    dimensions = {8 * release.dimension for release in plan.releases}
    numbers = {"seq", "round", "threshold", "row", "serial", "not_before", "not_after"}
    kinds = set()
    for site, data in captured.replies:
        reply = parse(wire.VaultReply, data)
        kinds.add(reply.WhichOneof("reply"))
        assert_nothing_rides_along(reply)
        for path, value in values(reply):
            last = path.rsplit(".", 1)[-1]
            if path == "contributed.vector":
                assert isinstance(value, bytes)
                assert len(value) in dimensions
            elif path == "joined.catalogue":
                assert value == bytes.fromhex(plan.catalogues[0].hash)
            elif isinstance(value, bytes):
                length = LENGTHS["head.hash" if path.endswith("head.hash") else last]
                assert len(value) == length, path
            elif isinstance(value, str):
                known = names if last in SITE_NAMES else {each.kind for each in plan.releases}
                assert last in SITE_NAMES | {"kind"}, path
                assert value in known, path
            elif last == "declared_users":
                assert value == captured.setting.declared[site]
            else:
                assert last in numbers, path
                assert isinstance(value, int)
    assert kinds == {
        "joined",
        "advertised",
        "shared",
        "contributed",
        "confirmed",
        "unmasked",
        "finished",
    }


def test_no_message_of_a_site_can_hold_a_real_number() -> None:
    """A count, a loss or a metric has no field to travel in."""
    seen = set()
    waiting = [wire.VaultReply.DESCRIPTOR, *(kind.DESCRIPTOR for kind in BODIES.values())]
    while waiting:
        message = waiting.pop()
        if message.full_name in seen:
            continue
        seen.add(message.full_name)
        for field in message.fields:
            assert field.type not in (field.TYPE_DOUBLE, field.TYPE_FLOAT)
            if field.message_type is not None:
                waiting.append(field.message_type)
    assert len(seen) >= 14


def test_no_user_pseudonym_label_or_text_is_on_the_wire(captured: Captured) -> None:
    assert len(captured.replies) > 60
    everything = b"".join(data for _, data in captured.replies)
    # The names of sites are public, and do stand there.
    assert captured.setting.sites.names[0].encode() in everything
    # Short words turn up by chance in megabytes of masks: what is searched is what has no masks.
    plain = b"".join(
        data
        for _, data in captured.replies
        if not parse(wire.VaultReply, data).HasField("contributed")
    )
    for secret in captured.secrets:
        assert secret not in (everything if len(secret) > 5 else plain)


def test_vectors_are_masked_also_where_a_site_has_hardly_any_users(captured: Captured) -> None:
    for _, data in captured.replies:
        vector = parse(wire.VaultReply, data).contributed.vector
        if len(vector) > 8 * 1000:
            # Noise of some 10^7 would leave the upper octets all 0 or all 255.
            highest = np.frombuffer(vector, dtype=np.uint8)[7::8]
            assert len(np.unique(highest)) > 200


def test_refusals_are_coarse_codes(captured: Captured) -> None:
    for _, data in captured.replies:
        code = parse(wire.VaultReply, data).refused.code
        assert re.fullmatch(r"[a-z-]*", code)


def test_only_adapter_and_head_moved(captured: Captured) -> None:
    """After a whole run the language model is what it was, to the bit."""
    before = captured.setting.initial_model(ModelSpec()).weights
    assert set(captured.model.weights) == set(before)
    assert all("lora_B" in name or name.startswith("head.") for name in before)
    moved = [name for name in before if (captured.model.weights[name] != before[name]).any()]
    assert any("lora_B" in name for name in moved)
    assert any(name.startswith("head.") for name in moved)
    fresh = load_backbone().model.state_dict()
    used = captured.setting.backbone.model.state_dict()
    assert fresh.keys() == used.keys()
    assert all(torch.equal(fresh[name], used[name]) for name in fresh)


def test_the_plan_holds_no_user_and_no_site(captured: Captured) -> None:
    text = json.dumps(captured.plan.model_dump(mode="json"))
    assert not any(name in text for name in captured.setting.sites.names)
    assert not any(user in text for user in captured.setting.sites.pooled.histories.users)
