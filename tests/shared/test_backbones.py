"""Every kind of backbone passes one contract: found, hashed, encoded, adapted, saved, reloaded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from huggingface_hub import constants
from numpy.typing import NDArray
from peft import PeftModel
from transformers import (
    AutoModel,
    BertConfig,
    BertModel,
    BertTokenizer,
    DistilBertConfig,
    DistilBertModel,
    GPT2Config,
    GPT2Model,
    PreTrainedModel,
)

from groundswell.shared import interest
from groundswell.shared.backbone import Backbone, encode_catalogue, load_backbone
from groundswell.shared.batches import Inputs
from groundswell.shared.catalogue import Catalogue
from groundswell.shared.checkpoint import Checkpoint, load, model_weights, save
from groundswell.shared.errors import InputError, ModelError
from groundswell.shared.histories import Histories
from groundswell.shared.model import InterestModel, initialise, load_weights, trainable
from groundswell.shared.spec import ModelSpec
from groundswell.shared.task import Task

Maker = Callable[..., Histories]
LETTERS = "abcdefghijklmnopqrstuvwxyz手机智能壳咖啡茶汤"
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *LETTERS, *(f"##{c}" for c in LETTERS)]
KINDS = ("bert", "distilbert", "gpt2")


def tiny(kind: str) -> PreTrainedModel:
    torch.manual_seed(7)
    if kind == "gpt2":
        return GPT2Model(
            GPT2Config(vocab_size=len(WORDS), n_embd=32, n_layer=3, n_head=2, n_positions=64)
        )
    if kind == "distilbert":
        return DistilBertModel(
            DistilBertConfig(vocab_size=len(WORDS), dim=32, n_layers=3, n_heads=2, hidden_dim=48)
        )
    return BertModel(
        BertConfig(
            vocab_size=len(WORDS),
            hidden_size=32,
            num_hidden_layers=3,
            num_attention_heads=2,
            intermediate_size=48,
        )
    )


@pytest.fixture(scope="module", params=KINDS)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A local folder with a tiny random model whose vocabulary has Chinese characters."""
    folder = tmp_path_factory.mktemp("models") / f"tiny-{request.param}"
    tiny(str(request.param)).save_pretrained(folder)
    vocabulary = folder / "vocab.txt"
    vocabulary.write_text("\n".join(WORDS), encoding="utf-8")
    BertTokenizer(vocab_file=str(vocabulary)).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def backbone(folder: Path) -> Backbone:
    return load_backbone(str(folder))


@pytest.fixture(
    params=({}, {"layers": 2}, {"prompt": "did: {events}"}, {"frozen_a": False}),
    ids=("top-1", "top-2", "prompt", "trained-a"),
)
def spec(request: pytest.FixtureRequest, backbone: Backbone) -> ModelSpec:
    return ModelSpec(**{"backbone": backbone.name, "rank": 2, "tokens": 4} | request.param)


def model_of(spec: ModelSpec, backbone: Backbone, shop: Catalogue) -> tuple[InterestModel, Inputs]:
    popularity = np.array([0.3, 0.2, 0.25, 0.15, 0.1], dtype=np.float32)
    statistics = {"popularity": popularity}
    inputs = Inputs(spec, Task(), shop, backbone, statistics=statistics)
    model = InterestModel(spec, backbone, inputs.space)
    initialise(model, bytes(range(32)))
    return model, inputs


def stir(model: InterestModel) -> None:
    """Move every trained weight off its start."""
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in trainable(model).values():
            parameter.add_(0.05 * torch.randn_like(parameter))


def test_its_name_is_no_path_and_its_hash_is_its_own(folder: Path, backbone: Backbone) -> None:
    assert backbone.name == folder.name
    assert len(backbone.hash) == 64
    assert load_backbone(str(folder)) is backbone
    assert not any(p.requires_grad for p in backbone.model.parameters())


def test_texts_encode_alike_alone_and_together(backbone: Backbone) -> None:
    texts = ["智能手机", "tea", "a long text about coffee", "tea", ""]
    together = backbone.encode(texts, 1)
    assert together.unit.shape == (5, 32)
    np.testing.assert_allclose(np.linalg.norm(together.unit, axis=1), 1, rtol=1e-5)
    np.testing.assert_array_equal(together.prefix[1], together.prefix[3])
    for i, text in enumerate(texts):
        alone = backbone.encode([text], 1)
        np.testing.assert_allclose(alone.prefix[0], together.prefix[i], atol=2e-5)


def test_catalogue_embeddings_are_cached(
    backbone: Backbone, shop: Catalogue, tmp_path: Path
) -> None:
    first = encode_catalogue(backbone, shop, 1, tmp_path)
    (file,) = tmp_path.iterdir()
    assert backbone.hash[:16] in file.name
    np.testing.assert_array_equal(encode_catalogue(backbone, shop, 1, tmp_path).unit, first.unit)


def test_only_adapter_and_head_train_and_b_starts_at_zero(
    spec: ModelSpec, backbone: Backbone, shop: Catalogue
) -> None:
    model, _ = model_of(spec, backbone, shop)
    names = set(trainable(model))
    adapter = {name for name in names if "lora_B" in name}
    if not spec.frozen_a:
        adapter |= {name.replace("lora_B", "lora_A") for name in adapter}
    assert adapter
    assert names == adapter | {"head.weight", "head.bias"}
    assert all(not p.any() for n, p in trainable(model).items() if "lora_B" in n)


def test_a_frozen_a_depends_on_the_plan_alone_and_a_trained_one_on_nothing(
    spec: ModelSpec, backbone: Backbone, shop: Catalogue
) -> None:
    one, other = model_of(spec, backbone, shop)[0], model_of(spec, backbone, shop)[0]
    for (name, a), (_, b) in zip(one.named_parameters(), other.named_parameters(), strict=True):
        assert torch.equal(a, b), name
    initialise(other, bytes(32))
    pairs = zip(one.encoder.named_parameters(), other.encoder.named_parameters(), strict=True)
    moved = any(not torch.equal(a, b) for (name, a), (_, b) in pairs if "lora_A" in name)
    assert moved == spec.frozen_a


def test_the_short_way_equals_the_full_layer(
    spec: ModelSpec,
    backbone: Backbone,
    shop: Catalogue,
    make_histories: Maker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, inputs = model_of(spec, backbone, shop)
    stir(model)
    batch = inputs.batch(*rows(make_histories))
    with torch.no_grad():
        short = model(batch)
        monkeypatch.setattr(interest, "_is_bert_layer", lambda layer: False)
        full = model(batch)
    torch.testing.assert_close(short, full, rtol=1e-5, atol=1e-5)


def test_filling_changes_nothing(
    spec: ModelSpec, backbone: Backbone, shop: Catalogue, make_histories: Maker
) -> None:
    model, inputs = model_of(spec, backbone, shop)
    stir(model)
    batch = inputs.batch(*rows(make_histories)).dense()
    assert isinstance(batch.tokens, torch.Tensor)
    tokens = torch.where(batch.mask[:, :, None], batch.tokens, torch.tensor(3.0))
    with torch.no_grad():
        plain = model.encoder(batch.tokens, batch.mask, batch.weight)
        filled = model.encoder(tokens, batch.mask, batch.weight)
    torch.testing.assert_close(plain, filled, rtol=1e-5, atol=1e-5)


def test_saved_and_reloaded_it_says_the_same(
    spec: ModelSpec, backbone: Backbone, shop: Catalogue, make_histories: Maker, tmp_path: Path
) -> None:
    model, inputs = model_of(spec, backbone, shop)
    stir(model)
    folder = tmp_path / "model"
    kept = Checkpoint(
        spec, Task(), shop, backbone.hash, model_weights(model), inputs.statistics, card="# Card"
    )
    save(folder, kept, backbone)
    save(folder, kept, backbone)  # replaces the first as a whole
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model"]
    found = load(folder, backbone)
    other = InterestModel(found.spec, backbone, inputs.space)
    load_weights(other, found.weights)
    batch = inputs.batch(*rows(make_histories))
    with torch.no_grad():
        assert torch.equal(model(batch), other(batch))
    assert str(tmp_path) not in "".join(
        path.read_text("utf-8", errors="ignore") for path in folder.iterdir()
    )


def test_peft_loads_the_adapter(
    spec: ModelSpec, backbone: Backbone, shop: Catalogue, folder: Path, tmp_path: Path
) -> None:
    model, _ = model_of(spec, backbone, shop)
    stir(model)
    kept = Checkpoint(spec, Task(), shop, backbone.hash, model_weights(model), {}, card="")
    save(tmp_path / "model", kept, backbone)
    whole = PeftModel.from_pretrained(AutoModel.from_pretrained(folder), str(tmp_path / "model"))
    loaded = {name: p for name, p in whole.named_parameters() if "lora_" in name}
    ours = {
        interest.peft_name(name.removeprefix("encoder."), backbone, spec.layers): p
        for name, p in model.named_parameters()
        if "lora_" in name
    }
    assert len(loaded) == len(ours)
    for name, parameter in loaded.items():
        assert torch.equal(parameter, ours[name.replace(".default", "")]), name


def test_a_damaged_or_foreign_checkpoint_is_refused(
    spec: ModelSpec, backbone: Backbone, shop: Catalogue, tmp_path: Path
) -> None:
    model, _ = model_of(spec, backbone, shop)
    folder = tmp_path / "model"
    kept = Checkpoint(spec, Task(), shop, "0" * 64, model_weights(model), {}, card="")
    save(folder, kept, backbone)
    with pytest.raises(ModelError, match="another"):
        load(folder, backbone)
    kept = Checkpoint(spec, Task(), shop, backbone.hash, model_weights(model), {}, card="")
    save(folder, kept, backbone)
    file = folder / "head.safetensors"
    file.write_bytes(file.read_bytes()[:-4] + b"\0\0\0\1")
    with pytest.raises(ModelError, match="hash"):
        load(folder, backbone)
    file.unlink()
    with pytest.raises(ModelError):
        load(folder, backbone)


def test_an_unknown_backbone_gets_one_clear_line() -> None:
    with pytest.raises(InputError, match="nobody/no-such-model"):
        load_backbone("nobody/no-such-model")


def rows(make_histories: Maker) -> tuple[Histories, NDArray[np.int64]]:
    h = make_histories([[(1, 0), (2, 1), (3, 4)], [], [(2, 2)]])
    return h, np.full(3, 5 * 86_400_000_000, dtype=np.int64)


@pytest.mark.parametrize("download", [False, True])
def test_the_hub_is_asked_only_where_a_download_is_allowed(
    download: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the environment says: the command line sets HF_HUB_OFFLINE, a script does not."""
    offline: list[bool] = []

    def refused(*_: object, **__: object) -> None:
        offline.append(constants.HF_HUB_OFFLINE)
        raise OSError("not here")

    monkeypatch.setattr(AutoModel, "from_pretrained", refused)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", download)
    with pytest.raises(InputError, match="can't be read"):
        load_backbone(f"nobody/nothing-{download}", download=download)
    assert offline == [not download]
    assert constants.HF_HUB_OFFLINE is download
