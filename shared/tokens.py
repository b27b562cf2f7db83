"""Event tokens by their places in tables: a token is a text's row plus a row for its context.

Thousands of events share a few hundred texts and a handful of contexts (action and time gap), so
what a linear map makes of a token is looked up rather than computed for every event.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

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

    def on(self, device: torch.device) -> TokenTables:
        """The same tables on a device; the same object each time, so that what is kept for it can
        be found."""
        if self.texts.device == device:
            return self
        found = self._elsewhere.get(device)
        if found is None:
            begins = None if self.begins is None else self.begins.on(device)
            found = TokenTables(self.texts.to(device), self.contexts.to(device), self.gaps, begins)
            self._elsewhere[device] = found
        return found

    @cached_property
    def _elsewhere(self) -> dict[torch.device, TokenTables]:
        return {}

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

    def on(self, device: torch.device) -> EventTokens:
        """The same tokens on a device."""
        return EventTokens(self.tables.on(device), self.text.to(device), self.context.to(device))

    def to(self, dtype: torch.dtype) -> EventTokens:
        """The same tokens in another precision."""
        if self.tables.texts.dtype == dtype:
            return self
        return EventTokens(self.tables.mapped(lambda x: x.to(dtype)), self.text, self.context)
