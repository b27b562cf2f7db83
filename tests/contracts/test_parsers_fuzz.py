"""Whatever stands in a file or arrives as bytes: it is read, or there is one clear error.

Each parser meets bytes of any kind, and sound documents that were damaged: values replaced by
others, keys removed, bytes changed. ``make test-fuzz`` keeps at it for a minute each.
"""

from __future__ import annotations

import copy
import json
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from shutil import copytree
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from safetensors.numpy import save

from groundswell.client.ledger import Ledger
from groundswell.client.ledger_file import read_records
from groundswell.client.ledger_rows import Record, check
from groundswell.client.policy import SitePolicy
from groundswell.client.preparation import Preparation
from groundswell.server import checkpointing
from groundswell.shared.backbone import Backbone, load_backbone
from groundswell.shared.catalogue import Catalogue
from groundswell.shared.checkpoint import load
from groundswell.shared.config_data import Columns, Data
from groundswell.shared.config_file import load_config
from groundswell.shared.errors import InputError, LedgerError, ModelError, Refusal
from groundswell.shared.identity import SigningKey, sealed_plan
from groundswell.shared.invitation import Invitation
from groundswell.shared.plan import Plan
from groundswell.shared.spec import ModelSpec
from groundswell.shared.transfer import ModelState
from groundswell.simulation import audit_data
from groundswell.simulation.secure_sites import Consortium
from groundswell.simulation.setting import Setting

pytestmark = pytest.mark.fuzz
NOW = 1_700_000_000

fuzzed = settings(
    max_examples=200,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=True, allow_infinity=True),
    st.text(max_size=20),
    st.sampled_from(["", "NaN", "-1", "1e400", "7d", "..", "/", "\x00", "9999-12-31", "0" * 64]),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)
EDITS = st.lists(
    st.tuples(st.integers(0, 10_000), st.integers(0, 40), st.binary(max_size=20)),
    min_size=1,
    max_size=4,
)


def damaged(data: bytes, edits: Sequence[tuple[int, int, bytes]]) -> bytes:
    """Bytes cut out and others put in, at some places."""
    for position, length, new in edits:
        at = position % (len(data) + 1)
        data = data[:at] + new + data[at + length :]
    return data


def places(document: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value within a document."""
    found = [path] if path else []
    if isinstance(document, dict):
        inner: Any = document.items()
    elif isinstance(document, list):
        inner = enumerate(document)
    else:
        return found
    return found + [each for key, value in inner for each in places(value, (*path, key))]


@st.composite
def mutated(draw: st.DrawFn, document: Any) -> Any:
    """A document with up to three values replaced or removed, or one key added."""
    changed = copy.deepcopy(document)
    for _ in range(draw(st.integers(1, 3))):
        known = places(changed)
        if not known:
            break
        *way, last = draw(st.sampled_from(known))
        holder = changed
        for key in way:
            holder = holder[key]
        action = draw(st.sampled_from(["replace", "remove", "add"]))
        if action == "replace":
            holder[last] = draw(VALUES)
        elif action == "remove":
            del holder[last]
        elif isinstance(holder, dict):
            holder[draw(st.text(max_size=8))] = draw(VALUES)
    return changed


def texts_of(document: Any) -> st.SearchStrategy[bytes]:
    """Damaged forms of a JSON document, and bytes of any kind."""
    sound = json.dumps(document).encode()
    return st.one_of(
        mutated(document).map(lambda each: json.dumps(each).encode()),
        EDITS.map(lambda edits: damaged(sound, edits)),
        st.binary(max_size=200),
    )


def assert_told(error: Exception, words: str) -> None:
    assert str(error)
    assert words in str(error)


def assert_one_line(error: InputError | ModelError | LedgerError) -> None:
    assert "\n" not in str(error).strip(), str(error)


# --- what the whole file shares -------------------------------------------------------------


@pytest.fixture(scope="module")
def setting() -> Setting:
    chosen = {"privacy.eps_l": 50.0, "train.rounds": 2}
    dataset = audit_data.invent(4, 3, np.random.default_rng(0))
    return Setting.build(load_config(None, chosen).config, dataset, 0)


@pytest.fixture(scope="module")
def plan(setting: Setting) -> Plan:
    return setting.plan(setting.config, ModelSpec())


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return load_backbone()


# --- configuration and policy ----------------------------------------------------------------

SECTIONS = ("data", "catalogue", "sites", "task", "evaluation", "model", "privacy", "train", "no")
KEYS = [
    *("events", "columns", "file", "label", "by", "window", "actions", "backbone", "layers"),
    *("eps_c", "delta", "split", "rounds", "sampling_rate", "number", "statistics", "nonsense"),
]
TOML = st.one_of(
    st.text(max_size=200).map(str.encode),
    st.binary(max_size=200),
    st.dictionaries(
        st.sampled_from(SECTIONS),
        st.dictionaries(
            st.sampled_from(KEYS),
            st.one_of(
                st.integers(-(2**63), 2**63 - 1).map(str),
                st.floats().map(lambda value: repr(value).replace("inf", "inf")),
                st.booleans().map(lambda value: str(value).lower()),
                st.text(max_size=12).map(json.dumps),
                st.sampled_from(['["a", "b"]', "{a = 1}", "[]", "{}", "1979-05-27", '"7d"']),
            ),
            max_size=4,
        ),
        max_size=4,
    ).map(
        lambda sections: "\n".join(
            f"[{name}]\n" + "\n".join(f"{key} = {value}" for key, value in keys.items())
            for name, keys in sections.items()
        ).encode()
    ),
)


@fuzzed
@given(data=TOML)
def test_configuration(data: bytes, tmp_path: Path) -> None:
    file = tmp_path / "groundswell.toml"
    file.write_bytes(data)
    try:
        loaded = load_config(file)
    except InputError as error:
        assert_one_line(error)
    else:
        # What is accepted can be written down and read again.
        file.write_text(loaded.effective(tmp_path))
        assert load_config(file).config == loaded.config


@fuzzed
@given(data=st.data())
def test_site_policy(data: st.DataObject, plan: Plan, tmp_path: Path) -> None:
    table = SitePolicy.for_plan(plan).model_dump(mode="json")
    changed = data.draw(mutated(table))
    lines = [f"{json.dumps(key)} = {toml(value)}" for key, value in changed.items()]
    text = "[policy]\n" + "\n".join(lines)
    file = tmp_path / "site.toml"
    file.write_bytes(
        data.draw(st.sampled_from([text.encode("utf-8", "replace"), b"\xff", b"[policy]"]))
    )
    try:
        SitePolicy.load(file)
    except InputError as error:
        assert_one_line(error)


def toml(value: Any) -> str:
    """A value as TOML; what TOML can't say becomes a text."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list):
        return "[" + ", ".join(toml(each) for each in value) + "]"
    if isinstance(value, dict):
        inner = ", ".join(f"{json.dumps(str(key))} = {toml(each)}" for key, each in value.items())
        return "{" + inner + "}"
    return json.dumps(str(value))


# --- plan, model, invitation -------------------------------------------------------------------


@fuzzed
@given(data=st.data())
def test_plan(data: st.DataObject, plan: Plan) -> None:
    read = data.draw(texts_of(plan.model_dump(mode="json")))
    try:
        found = Plan.parse(read)
    except ValidationError:
        return
    assert Plan.parse(found.canonical_bytes()).hash() == found.hash()


@fuzzed
@given(data=st.data())
def test_model(data: st.DataObject, setting: Setting) -> None:
    sound = setting.initial_model(ModelSpec()).pack()
    edits = EDITS.map(lambda edits: damaged(sound, edits))
    with_types = st.sampled_from([np.float64, np.int8, np.float32]).map(
        lambda kind: save({"weights/x": np.zeros(3, dtype=kind)})
    )
    try:
        ModelState.unpack(data.draw(st.one_of(edits, with_types, st.binary(max_size=100))))
    except Refusal as refusal:
        assert_told(refusal, "malformed")


@fuzzed
@given(data=st.data())
def test_invitation(data: st.DataObject, setting: Setting, plan: Plan, tmp_path: Path) -> None:
    consortium = Consortium.create({"north": "acme"}, now=NOW)
    signed = sealed_plan(plan.canonical_bytes(), consortium.coordinator)
    catalogue = setting.dataset.catalogue
    sound = Invitation(
        "fleet.example:443",
        "root",
        consortium.authority.public,
        consortium.coordinator.public,
        signed.plan,
        signed.plan_signature,
        catalogue.name,
        catalogue.canonical_bytes(),
    )
    file = tmp_path / "invitation.json"
    sound.write(file)
    assert Invitation.read(file) == sound
    file.write_bytes(data.draw(texts_of(json.loads(file.read_bytes()))))
    try:
        Invitation.read(file)
    except InputError as error:
        assert_one_line(error)


@fuzzed
@given(data=st.data())
def test_catalogue(data: st.DataObject, setting: Setting) -> None:
    document = json.loads(setting.dataset.catalogue.canonical_bytes())
    try:
        Catalogue.parse(data.draw(texts_of(document)), "shop")
    except InputError as error:
        assert_one_line(error)


# --- ledger and checkpoints ------------------------------------------------------------------


@fuzzed
@given(data=st.data())
def test_ledger_rows(data: st.DataObject, plan: Plan, tmp_path: Path) -> None:
    """Rows that the site's own key signed, whatever they say: problems are named, or there are
    none."""
    key, policy = SigningKey.generate(), SitePolicy.for_plan(plan)
    path = tmp_path / "ledger.sqlite"
    path.unlink(missing_ok=True)
    Ledger.create(path, key, "north", policy).close()
    (first,) = read_records(path)
    body = data.draw(texts_of(json.loads(first.body))).decode("utf-8", "replace")
    forged = Record(first.number, body, first.hash, first.signature)
    changed = body != first.body
    checked = check([forged], key.public)
    assert bool(checked.problems) or not changed
    with sqlite3.connect(path) as connection:
        value: object = data.draw(st.sampled_from([body, body.encode(), None, 7]))
        try:
            connection.execute("UPDATE events SET body = ?", (value,))
        except (sqlite3.Error, UnicodeEncodeError):
            return
    connection.close()
    try:
        Ledger.open(path, key, policy).close()
    except LedgerError as error:
        assert_one_line(error)
    else:
        assert not changed


@fuzzed
@given(data=st.binary(max_size=300), head=st.booleans())
def test_ledger_file(data: bytes, head: bool, tmp_path: Path) -> None:
    file = tmp_path / "ledger.sqlite"
    file.write_bytes(b"SQLite format 3\0" * head + data)
    with pytest.raises(LedgerError) as refused:
        read_records(file)
    assert_one_line(refused.value)


@fuzzed
@given(data=st.data())
def test_checkpoint(data: st.DataObject, model_folder: Path, backbone: Backbone) -> None:
    folder = model_folder.parent / "fuzzed"
    copytree(model_folder, folder, dirs_exist_ok=True)
    manifest = json.loads((model_folder / "manifest.json").read_bytes())
    name = data.draw(st.sampled_from(["manifest.json", "manifest.json", "head.safetensors"]))
    new = (
        data.draw(texts_of(manifest))
        if name == "manifest.json"
        else damaged((model_folder / name).read_bytes(), data.draw(EDITS))
    )
    (folder / name).write_bytes(new)
    try:
        load(folder, backbone)
    except ModelError as error:
        assert_one_line(error)


@fuzzed
@given(edits=EDITS)
def test_coordinators_checkpoint(
    edits: Sequence[tuple[int, int, bytes]], setting: Setting, plan: Plan, tmp_path: Path
) -> None:
    state = checkpointing.RunState.begin(setting.initial_model(ModelSpec()))
    checkpointing.save(tmp_path, state, plan.hash())
    (file,) = tmp_path.glob("*.safetensors")
    file.write_bytes(damaged(file.read_bytes(), edits))
    try:
        checkpointing.load(tmp_path, plan.hash())
    except ModelError as error:
        assert_one_line(error)


# --- events ----------------------------------------------------------------------------------

CELLS = st.text(max_size=12) | st.sampled_from(["1", "2025-01-06T10:00:00Z", '"'])
CSV = st.one_of(
    st.binary(max_size=200),
    st.lists(
        st.lists(CELLS, max_size=5).map(",".join),
        max_size=6,
    ).map(lambda lines: ("user,time,label\n" + "\n".join(lines)).encode("utf-8", "replace")),
)


@fuzzed
@given(data=CSV)
def test_events(data: bytes, setting: Setting, tmp_path: Path) -> None:
    file = tmp_path / "events.csv"
    file.write_bytes(data)
    source = Data(events=(str(file),), columns=Columns(label="label"))
    try:
        parts = list(Preparation(source, setting.dataset.catalogue).events())
    except InputError as error:
        assert_one_line(error)
    else:
        assert all(part["user"].null_count() == 0 for part in parts)
