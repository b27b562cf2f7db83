"""What a preparation did, step by step: it stays at the site."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime


@dataclass
class StepReport:
    """What one step did: rows in, rows set aside by reason, and rows it changed but kept."""

    name: str
    rows: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    changed: Counter[str] = field(default_factory=Counter)

    @property
    def kept(self) -> int:
        """Rows that went on to the next step."""
        return self.rows - self.rejected.total()


@dataclass
class PreparationReport:
    """What a preparation did, step by step; stays at the site."""

    sources: tuple[str, ...]
    clean: StepReport = field(default_factory=lambda: StepReport("clean"))
    integrate: StepReport = field(default_factory=lambda: StepReport("integrate"))
    annotate: StepReport = field(default_factory=lambda: StepReport("annotate"))
    users: int = 0
    first: datetime | None = None
    last: datetime | None = None

    @property
    def steps(self) -> tuple[StepReport, ...]:
        """The steps in their order."""
        return (self.clean, self.integrate, self.annotate)

    @property
    def rejected(self) -> int:
        """Rows in the quarantine file."""
        return sum(step.rejected.total() for step in self.steps)
