"""Which texts are in a script that a language model's vocabulary mostly does not know.

Such a word becomes [UNK], and two words that are both [UNK] are the same to the model: a search
finds a wrong label rather than none. What the vocabulary spells letter by letter is not told: the
model saw those letters, if seldom.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from groundswell.shared.backbone_name import folder_of

# Of a text's word pieces; English phrases of the generated market have none, Chinese ones half.
MOSTLY_UNKNOWN = 0.25
REMEDY = "name a multilingual backbone in [model].backbone"
_MOST_CHARACTERS = 1_000


@dataclass(frozen=True)
class Vocabulary:
    """How a tokenizer cuts texts.

    Attributes:
        pieces: the numbers of each text's word pieces.
        unknown: the number of what is not known; None where every text has pieces.
    """

    pieces: Callable[[list[str]], list[list[int]]]
    unknown: int | None

    @classmethod
    def of(cls, tokenizer: Any) -> Vocabulary:
        """That of a transformers tokenizer."""

        def pieces(texts: list[str]) -> list[list[int]]:
            found: list[list[int]] = tokenizer(texts, add_special_tokens=False)["input_ids"]
            return found

        return cls(pieces, tokenizer.unk_token_id)

    @classmethod
    def named(cls, backbone: str) -> Vocabulary | None:
        """That of a backbone whose files lie on this machine, read in a moment; else None."""
        folder = folder_of(backbone)
        file = folder / "tokenizer.json" if folder else Path()
        if folder is None or not file.is_file():
            return None
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_file(str(file))
        tokenizer.no_padding()
        tokenizer.no_truncation()
        model = json.loads(file.read_text(encoding="utf-8"))["model"]
        unknown = model.get("unk_id")
        if unknown is None and model.get("unk_token"):
            unknown = tokenizer.token_to_id(model["unk_token"])

        def pieces(texts: list[str]) -> list[list[int]]:
            return [each.ids for each in tokenizer.encode_batch(texts, add_special_tokens=False)]

        return cls(pieces, unknown)

    def unread(self, texts: Sequence[str]) -> tuple[str, ...]:
        """Those texts, each once, whose letters are to more than a quarter unknown pieces."""
        if self.unknown is None or not texts:
            return ()
        each_once = list(dict.fromkeys(texts))
        found = self.pieces([_letters(text[:_MOST_CHARACTERS]) for text in each_once])
        return tuple(
            text
            for text, ids in zip(each_once, found, strict=True)
            if ids and ids.count(self.unknown) > MOSTLY_UNKNOWN * len(ids)
        )


def _letters(text: str) -> str:
    """Without pictures and signs, which say nothing of the script."""
    return "".join(sign if sign.isalnum() else " " for sign in text)
