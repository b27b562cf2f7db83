"""The peer of ``bench query``: the same forecasts by plain transformers, PEFT and FastAPI.

Written as such a service is usually written: pydantic bodies, the adapter through PEFT, the top
layer run over all positions by transformers. Features of counts come from the product's own code,
so that both sides give the same numbers and differ in how they serve.

    plain    one request at a time; the texts of its events are encoded anew
    cached   item embeddings cached, requests batched

Run as ``python -m groundswell.simulation.benchmarks.query_peer MODEL PORT [cached]``.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import torch
import uvicorn
from fastapi import FastAPI
from numpy.typing import NDArray
from peft import PeftModel
from pydantic import BaseModel
from safetensors.torch import load_file

from groundswell.shared.backbone import MAX_TEXT_TOKENS, Backbone, Encoded, load_backbone
from groundswell.shared.batches import Batch, Inputs
from groundswell.shared.checkpoint import load, read_manifest
from groundswell.shared.event_input import histories_of
from groundswell.shared.features import LABELS_A_WEEK, SCORES, relative_popularity
from groundswell.shared.habits import habits
from groundswell.shared.histories import Histories, Int64
from groundswell.shared.model import LARGEST_LOG_GATE, LEAST_MIXTURE
from groundswell.shared.predict import PRIOR_OCCASIONS
from groundswell.shared.questions import Event, Trend, microseconds

Float32 = NDArray[np.float32]
LARGEST_BATCH = 64
WAIT_SECONDS = 0.005


class Body(BaseModel):
    """What is asked."""

    events: list[Event] = []
    at: datetime
    top: int = 10


class Interest(BaseModel):
    """One label."""

    label: str
    probability: float
    lift: float
    trend: str


class Reply(BaseModel):
    """What is answered."""

    model_version: str
    privacy: dict[str, dict[str, float | None]]
    basis: str
    interests: list[Interest]


class PlainModel:
    """The forecast by stock parts.

    Args:
        folder: the model; cached: keep the catalogue's embeddings.
    """

    def __init__(self, folder: Path, *, cached: bool) -> None:
        self.backbone: Backbone = load_backbone(str(read_manifest(folder)["backbone"]))
        self.checkpoint = load(folder, self.backbone)
        self.cached = cached
        spec = self.checkpoint.spec
        self.inputs = Inputs(
            spec,
            self.checkpoint.task,
            self.checkpoint.catalogue,
            self.backbone,
            statistics=self.checkpoint.statistics,
        )
        adapted = PeftModel.from_pretrained(self.backbone.model, folder).eval()
        layers = adapted.get_submodule(f"base_model.model.{self.backbone.layers_path}")
        self.top_layer = list(layers.children())[-1]
        head = load_file(folder / "head.safetensors")
        self.head_weight, self.head_bias = head["weight"], head["bias"]
        self.directions = torch.from_numpy(self.inputs.space.directions)
        self.centre = torch.from_numpy(self.inputs.space.centre)
        if spec.layers != 1:
            raise ValueError("the peer is written for one adapted layer")

    def probabilities(self, bodies: Sequence[Body]) -> tuple[Float32, Float32]:
        """float32 ``[B, L]`` each: probability, and lift over the long-term rate."""
        catalogue = self.checkpoint.catalogue
        events = [body.events for body in bodies]
        h, texts = histories_of(events, catalogue, self.checkpoint.task)
        at = np.array([microseconds(body.at) for body in bodies], dtype=np.int64)
        h = h.before(at)
        inputs = self.inputs.with_encoded(self._encode(texts))
        if not self.cached:
            encoded = self._encoded_anew(h.token, texts)
            inputs.tables = replace(inputs.tables, events=encoded, begins=None)
        with torch.no_grad():
            probability = self._forward(inputs.batch(h, at).dense()).numpy()
        lift = probability / np.maximum(self._long_term(h, at), 1e-12)
        return probability, np.asarray(lift, dtype=np.float32)

    def _encoded_anew(self, token: NDArray[np.int32], texts: tuple[str, ...]) -> Encoded:
        """Embeddings of the texts that the request holds; other rows are never looked at."""
        labels = len(self.checkpoint.catalogue)
        used = np.unique(token[token >= 0])
        names = [*self.checkpoint.catalogue.texts, *texts]
        prefix = np.zeros((labels + len(texts), self.backbone.hidden), dtype=np.float32)
        prefix[used] = self._encode([names[i] for i in used]).prefix
        return Encoded(1, tuple(names), prefix, prefix)

    def _encode(self, texts: Sequence[str]) -> Encoded:
        """Texts through the lower layers: mean over the word pieces of the top layer's input."""
        if not texts:
            nothing = np.zeros((0, self.backbone.hidden), dtype=np.float32)
            return Encoded(1, (), nothing, nothing)
        inputs = self.backbone.tokenizer(
            list(texts),
            padding=True,
            truncation=True,
            max_length=MAX_TEXT_TOKENS,
            return_tensors="pt",
        )
        with torch.no_grad():
            states = self.backbone.model(**inputs, output_hidden_states=True).hidden_states
        weight = inputs["attention_mask"][:, :, None].float()
        prefix = ((states[-2] * weight).sum(dim=1) / weight.sum(dim=1)).numpy()
        return Encoded(1, tuple(texts), prefix, prefix)

    def _forward(self, batch: Batch) -> torch.Tensor:
        """``[R, L]``: probabilities, by the formula of the model's card."""
        share = batch.weight * batch.mask
        share = share / share.sum(dim=1, keepdim=True).clamp_min(1e-6)
        tokens = batch.tokens
        if not isinstance(tokens, torch.Tensor):
            raise TypeError("the batch is not dense")
        summary = (share[:, :, None] * tokens).sum(dim=1, keepdim=True)
        hidden = torch.cat([tokens, summary], dim=1)
        seen = torch.cat([batch.mask, torch.ones_like(batch.mask[:, :1])], dim=1)
        blocked = torch.finfo(hidden.dtype).min * (~seen)[:, None, None, :]
        state = self.top_layer(hidden, attention_mask=blocked)[:, -1]
        state = torch.nn.functional.normalize(state, dim=1) - self.centre
        cosine = torch.nn.functional.normalize(state, dim=1) @ self.directions.T
        known = batch.mask.any(dim=1, keepdim=True)
        logits = self.checkpoint.spec.sharpness * cosine * known + batch.log_popularity
        text = LABELS_A_WEEK * logits.softmax(dim=1)
        head, own = batch.facts[:, 0] @ self.head_weight.T + self.head_bias, len(SCORES)
        gates = head[:, : own + 1].clamp(max=LARGEST_LOG_GATE).exp()
        scores, tilts = batch.scores[:, 0, :, :own], batch.scores[:, 0, :, own:]
        mixture = (scores @ gates[:, :own, None])[:, :, 0] + text * gates[:, own:]
        tilt = (tilts @ head[:, own + 1 :, None])[:, :, 0]
        return ((mixture + LEAST_MIXTURE).log() + tilt).softmax(dim=1)

    def _long_term(self, h: Histories, at: Int64) -> Float32:
        """float32 ``[B, L]``: own occasions so far, and some more spread as the prior is."""
        labels = len(self.checkpoint.catalogue)
        count = habits(h, at, labels).count
        prior = relative_popularity(self.checkpoint.statistics, labels) / LABELS_A_WEEK
        total = count.sum(axis=1, keepdims=True) + PRIOR_OCCASIONS
        return np.asarray((count + PRIOR_OCCASIONS * prior) / total, dtype=np.float32)


Waiting = tuple[Body, "asyncio.Future[Reply]"]


class Service:
    """Answers bodies, in batches where the model caches."""

    def __init__(self, model: PlainModel) -> None:
        self._model = model
        self._waiting: asyncio.Queue[Waiting] = asyncio.Queue()
        privacy = model.checkpoint.privacy
        self._privacy = {
            tier: {name: privacy[tier][name] for name in ("epsilon", "noise_multiplier")}
            for tier in ("central", "local")
        }

    async def answer(self, body: Body) -> Reply:
        """The answer to one body."""
        if not self._model.cached:
            return (await asyncio.to_thread(self._replies, [body]))[0]
        waiting: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        await self._waiting.put((body, waiting))
        return await waiting

    async def work(self) -> None:
        """Take what comes within a few milliseconds as one batch, for ever."""
        while True:
            batch = [await self._waiting.get()]
            until = asyncio.get_running_loop().time() + WAIT_SECONDS
            while len(batch) < LARGEST_BATCH:
                left = until - asyncio.get_running_loop().time()
                try:
                    batch.append(await asyncio.wait_for(self._waiting.get(), max(left, 0)))
                except TimeoutError:
                    break
            replies = await asyncio.to_thread(self._replies, [body for body, _ in batch])
            for (_, waiting), reply in zip(batch, replies, strict=True):
                waiting.set_result(reply)

    def _replies(self, bodies: Sequence[Body]) -> list[Reply]:
        probability, lift = self._model.probabilities(bodies)
        labels = self._model.checkpoint.catalogue.labels
        replies = []
        for row, body in enumerate(bodies):
            best = np.argsort(-probability[row], kind="stable")[: body.top]
            interests = [
                Interest(
                    label=labels[i],
                    probability=float(probability[row, i]),
                    lift=float(lift[row, i]),
                    trend=Trend.of(float(lift[row, i])),
                )
                for i in best
            ]
            replies.append(
                Reply(
                    model_version=self._model.checkpoint.hash[:12],
                    privacy=self._privacy,
                    basis="history" if body.events else "prior",
                    interests=interests,
                )
            )
        return replies


def peer_app(model: PlainModel) -> FastAPI:
    """The application over one model."""
    service = Service(model)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        working = asyncio.create_task(service.work())
        yield
        working.cancel()

    app = FastAPI(lifespan=lifespan)

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.post("/v1/predict")
    async def predict(body: Body) -> Reply:
        return await service.answer(body)

    return app


def main(arguments: list[str]) -> None:
    """``MODEL PORT [cached]``: serve until ended."""
    torch.set_num_threads(1)
    model = PlainModel(Path(arguments[0]), cached="cached" in arguments[2:])
    port = int(arguments[1])
    uvicorn.run(peer_app(model), host="127.0.0.1", port=port, log_level="error", access_log=False)


if __name__ == "__main__":
    main(sys.argv[1:])
