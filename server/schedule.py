"""The order of a plan's attempts."""

from __future__ import annotations

from dataclasses import dataclass

from groundswell.shared.plan import EVALUATION, GRADIENT, Phase, Plan, evaluation_rounds


@dataclass(frozen=True)
class Step:
    """One attempt that is due.

    ``round`` is 0 before the rounds, counts from 1 in them, and is one more than the last of them
    afterwards: a site tells by it which events the release may see.
    """

    kind: str
    phase: Phase
    round: int


def schedule(plan: Plan) -> tuple[Step, ...]:
    """Statistics, rounds with looks between them, refreshed statistics, a last look.

    Statistics come in the order of the plan: pairs weigh by the popularity released before them.
    """
    statistics = [r for r in plan.releases if r.kind not in (GRADIENT, EVALUATION)]
    steps = [Step(r.kind, Phase.STATISTICS, 0) for r in statistics if Phase.STATISTICS in r.phases]
    evaluation = plan.release(EVALUATION)
    looks = evaluation_rounds(plan.rounds, evaluation.count if evaluation else 0)
    for number in range(1, plan.rounds + 1):
        steps.append(Step(GRADIENT, Phase.ROUNDS, number))
        if number in looks:
            steps.append(Step(EVALUATION, Phase.EVALUATION, number))
    steps += [
        Step(r.kind, Phase.REFRESH, plan.rounds + 1)
        for r in statistics
        if Phase.REFRESH in r.phases
    ]
    if looks:
        steps.append(Step(EVALUATION, Phase.EVALUATION, looks[-1]))
    return tuple(steps)
