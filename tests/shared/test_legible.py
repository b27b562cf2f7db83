"""Texts in a script that the vocabulary of a language model does not know are told."""

from __future__ import annotations

from pathlib import Path

import pytest

from groundswell.shared.backbone import load_backbone
from groundswell.shared.backbone_name import DEFAULT
from groundswell.shared.legible import Vocabulary
from groundswell.simulation.datasets.marketplace_merchants import taxonomy


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    found = Vocabulary.named(DEFAULT)
    assert found is not None
    return found


def phrases(end: str) -> list[str]:
    rows = taxonomy().to_dicts()
    return [p for row in rows for c in ("queries", "products") for p in row[c + end].split("|")]


def test_every_english_phrase_is_read_and_hardly_a_chinese_one(vocabulary: Vocabulary) -> None:
    assert vocabulary.unread(phrases("")) == ()
    chinese = set(phrases("_zh"))
    assert len(vocabulary.unread(phrases("_zh"))) > 0.98 * len(chinese)


@pytest.mark.parametrize("text", ["☕ mug", "smartwatch 5G", "café crème", "50 % off!", "👟", ""])
def test_signs_and_accents_are_no_other_script(vocabulary: Vocabulary, text: str) -> None:
    assert vocabulary.unread([text]) == ()


def test_each_text_is_named_once(vocabulary: Vocabulary) -> None:
    assert vocabulary.unread(["手机壳", "tea", "手机壳", "买了咖啡"]) == ("手机壳", "买了咖啡")
    assert vocabulary.unread([]) == ()


def test_the_file_alone_says_what_the_loaded_tokenizer_says(vocabulary: Vocabulary) -> None:
    texts = [*phrases("_zh")[:50], "кофе", "コーヒー", "mug 手机"]
    assert Vocabulary.of(load_backbone().tokenizer).unread(texts) == vocabulary.unread(texts)


def test_a_backbone_that_is_not_here_says_nothing(tmp_path: Path) -> None:
    assert Vocabulary.named("some/multilingual-model") is None
    assert Vocabulary.named(str(tmp_path)) is None


def test_a_vocabulary_without_an_unknown_piece_reads_everything() -> None:
    assert Vocabulary(lambda texts: [[1] for _ in texts], None).unread(["手机壳"]) == ()
