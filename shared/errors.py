"""Every exception that Groundswell raises on purpose.

    GroundswellError
    |-- InputError        wrong use or bad input: key, value, rule, remedy (exit code 2)
    |-- Refusal           a site or the coordinator declines a request: stable code, rule
    |-- LedgerError       the privacy ledger is damaged, behind its heads, or can't be written
    |-- AttemptVoid       a secure-sum attempt can't be completed; a charge may stand
    `-- ModelError        a checkpoint can't be read, or does not fit the data

``Refusal.code`` is the only part of an exception that may leave a data site: it never depends on
user data. The rule and the detail stay in the site's own log.
"""

from __future__ import annotations


class GroundswellError(Exception):
    """Base class; catching it catches every error that Groundswell raises on purpose."""


class InputError(GroundswellError):
    """Bad input. Prints as one line: the key, the value found, the rule broken, and the remedy."""

    def __init__(self, key: str, value: object, rule: str, remedy: str) -> None:
        self.key = key
        self.value = value
        self.rule = rule
        self.remedy = remedy
        super().__init__(f"{key}: {value!r}: {rule}; {remedy}")


class Refusal(GroundswellError):
    """A request was declined.

    ``code`` is a short stable word in kebab case that may travel to the other side; ``rule`` says
    in a sentence which rule refused it and stays in the refusing side's log.
    """

    def __init__(self, code: str, rule: str) -> None:
        self.code = code
        self.rule = rule
        super().__init__(f"{code}: {rule}")


class LedgerError(GroundswellError):
    """The ledger is tampered, truncated, restored or unwritable. The site fails closed."""


class AttemptVoid(GroundswellError):
    """A secure-sum attempt ended without a result; what the sites reserved for it stays spent."""

    def __init__(self, code: str, rule: str) -> None:
        self.code = code
        self.rule = rule
        super().__init__(f"{code}: {rule}")


class ModelError(GroundswellError):
    """A checkpoint is damaged, incomplete, or does not fit what is asked of it."""
