"""A model folder that answers in this process: notebooks and scripts without a gateway."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from groundswell.shared import answering
from groundswell.shared.answering import ServedModel
from groundswell.shared.durations import format_duration
from groundswell.shared.errors import InputError, Refusal
from groundswell.shared.explain import explain_question
from groundswell.shared.questions import (
    Answer,
    BatchAnswer,
    BatchRequest,
    ExplainAnswer,
    ExplainRequest,
    HistoryQuestion,
    ModelsAnswer,
    ModelsRequest,
    ModelVersion,
    PredictAnswer,
    PredictRequest,
    Question,
    RecommendAnswer,
    RecommendRequest,
    microseconds,
    moment,
    utc_now,
)
from groundswell.shared.served import serve_folder
from groundswell.shared.typed import TypedAnswer, TypedRequest, typed_history

A = TypeVar("A", bound=Answer)


class LocalAnswers:
    """Answers from one model folder.

    Raises:
        ModelError, InputError: see ``predict.load_model``.
    """

    def __init__(self, folder: Path) -> None:
        self._model = serve_folder(folder)
        self._ways: Mapping[type[Question], Callable[[Any], Answer]] = {
            PredictRequest: self._predict,
            BatchRequest: self._batch,
            RecommendRequest: self._recommend,
            ExplainRequest: self._explain,
            ModelsRequest: self._models,
            TypedRequest: self._understand,
        }

    def ask(self, question: Question, answer: type[A]) -> A:
        """The answer to a question.

        Raises:
            Refusal: ``needs-gateway``: sessions and trends over sites live at a gateway.
        """
        way = self._ways.get(type(question))
        if way is None:
            raise Refusal("needs-gateway", "sessions and trends over sites are asked of a gateway")
        found = way(question)
        if not isinstance(found, answer):
            raise TypeError(f"{type(found).__name__} is no {answer.__name__}")
        return found

    def close(self) -> None:
        """Nothing is open."""

    def _at(self, question: HistoryQuestion) -> int:
        if question.model not in (None, "latest", "champion", self._model.version):
            raise InputError("model", question.model, "the folder holds one model", "leave it out")
        return answering.check(self._model, question, microseconds(utc_now()))

    def _predict(self, question: PredictRequest) -> PredictAnswer:
        return answering.predict(self._model, [question], [self._at(question)])[0]

    def _batch(self, question: BatchRequest) -> BatchAnswer:
        times = [self._at(each) for each in question.requests]
        return BatchAnswer(answers=tuple(answering.predict(self._model, question.requests, times)))

    def _recommend(self, question: RecommendRequest) -> RecommendAnswer:
        return answering.recommend(self._model, question, self._at(question))

    def _explain(self, question: ExplainRequest) -> ExplainAnswer:
        return explain_question(self._model, question, self._at(question))

    def _understand(self, question: TypedRequest) -> TypedAnswer:
        now = utc_now()
        return answering.understand(self._model, typed_history(question.text, now), now)

    def _models(self, question: ModelsRequest) -> ModelsAnswer:
        listed = version_of(self._model, ("latest", "champion"))
        return ModelsAnswer(default=self._model.version, models=(listed,))


def version_of(model: ServedModel, aliases: tuple[str, ...]) -> ModelVersion:
    """What a loaded model tells of itself."""
    as_of = model.statistics_as_of
    return ModelVersion(
        version=model.version,
        aliases=aliases,
        labels=len(model.labels),
        window=format_duration(model.forecaster.task.window),
        statistics_as_of=moment(as_of) if as_of is not None else None,
        privacy=model.privacy,
        hash=model.hash,
    )
