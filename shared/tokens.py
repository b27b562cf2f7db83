"""Event tokens by their places in tables: a token is a text's row plus a row for its context.

Thousands of events share a few hundred texts and a handful of contexts (action and time gap), so
what a linear map makes of a token is looked up rather than computed for every event.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class TokenTables:
    """What tokens are made of.

    Attributes:
        texts: ``[n, W]``.
        contexts: ``[actions * gaps, W]``.
        gaps: number of time gaps; the context of action a and gap g is row ``a * gaps + g``.
        begins: tables whose rows come first in these, with the same contexts; None: none.
    """

    texts: Tensor
    contexts: Tensor
    gaps: int
    begins: TokenTables | None = None

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def width(self) -> int:
        """Width W of a row."""
        return int(self.texts.shape[1])

    def extended(self, further: Tensor) -> TokenTables:
        """These tables followed by more texts, ``[m, W]``."""
        return TokenTables(torch.cat([self.texts, further]), self.contexts, self.gaps, self)

    def mapped(self, change: Callable[[Tensor], Tensor]) -> TokenTables:
        """Tables with every row changed."""
        return TokenTables(change(self.texts), change(self.contexts), self.gaps)


@dataclass(frozen=True)
class EventTokens:
    """``R`` rows of ``T`` tokens.

    Attributes:
        tables: the rows that the places point at.
        text, context: int64 ``[R, T]``.
    """

    tables: TokenTables
    text: Tensor
    context: Tensor

    def look_up(self, tables: TokenTables) -> Tensor:
        """``[R, T, W]`` from tables with the same rows as ``self.tables``."""
        return tables.texts[self.text] + tables.contexts[self.context]

    def dense(self) -> Tensor:
        """``[R, T, D]``: the tokens themselves."""
        return self.look_up(self.tables)

    def to(self, dtype: torch.dtype) -> EventTokens:
        """The same tokens in another precision."""
        if self.tables.texts.dtype == dtype:
            return self
        return EventTokens(self.tables.mapped(lambda x: x.to(dtype)), self.text, self.context)
