"""A history as one text: the other way in which the language model may read it.

The template is a sentence with ``{events}`` in it, one for each language, and stands in the plan.
The events are named newest first, so that what is too long to be read is what is oldest. A prompt
is read word piece by word piece, and so costs far more than event tokens (``tokens.py``), whose
texts are encoded once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from groundswell.shared.backbone import Backbone

PLACE = "{events}"
PROMPT_PIECES = 128  # word pieces of a prompt that are read


def prompts(
    template: str,
    rows: int,
    events: Iterable[tuple[int, int, int]],
    action_names: Sequence[str],
    words: Sequence[str],
) -> list[str]:
    """The prompt of each of ``rows`` rows; empty for a row without events.

    Args:
        events: row, action and token of each, in order of time; an action beyond ``action_names``
            is called "other".
        words: what each token is called.
    """
    named: list[list[str]] = [[] for _ in range(rows)]
    names = [*action_names, "other"]
    for row, action, token in events:
        named[row].append(f"{names[min(action, len(names) - 1)]} {words[token]}")
    return [template.replace(PLACE, ", ".join(each[::-1])) if each else "" for each in named]


def prompt_tokens(backbone: Backbone, texts: Sequence[str], top: int) -> tuple[Tensor, Tensor]:
    """Word pieces as the top layers take them in: ``[R, T, D]``, and bool ``[R, T]``, what is text.

    A row whose text is empty is filling alone. Equal texts are read once.
    """
    unique = sorted(set(texts) - {""})
    place = {text: i for i, text in enumerate(unique)}
    length = min(PROMPT_PIECES, backbone.longest)
    tokens = torch.zeros(len(texts), length, backbone.hidden)
    mask = torch.zeros(len(texts), length, dtype=torch.bool)
    if unique:
        states, seen = backbone.hidden_tokens(unique, top, length)
        for row, text in enumerate(texts):
            if text:
                tokens[row], mask[row] = states[place[text]], seen[place[text]]
    return tokens * mask[:, :, None], mask
