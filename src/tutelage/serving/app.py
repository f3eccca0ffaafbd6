"""The service itself: FastAPI over a watched student, a batcher and the doors."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, Response

import tutelage
from tutelage.errors import InputError
from tutelage.serving import shapes
from tutelage.serving.batching import Answer, Batcher, Overloaded
from tutelage.serving.doors import Doors
from tutelage.serving.metrics import Metrics
from tutelage.serving.model import Model, Watched
from tutelage.serving.settings import SETTINGS, Settings, token_for
from tutelage.serving.watch import DriftWatch

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_ABOUT = "Labels texts with a student that a teacher has taught. Ask `/labels` for what it knows."


class Service:
    """What the routes share.

    Raises: InputError: no student at the path.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.watched = Watched(settings.path)
        self.metrics = Metrics()
        self.drift = self._drift_watch()
        self.batcher = Batcher(lambda: self.watched.model, queue=settings.queue, done=self._after_batch)

    def _drift_watch(self) -> DriftWatch:
        settings = self.settings
        in_run = Path(settings.path) / "drift" if (Path(settings.path) / "run.yaml").exists() else None
        folder = Path(settings.samples) if settings.samples else in_run
        reference = self.watched.model.student.reference_
        return DriftWatch(reference, folder, keep_texts=settings.keep_texts, seen=self.metrics.drift)

    def _after_batch(self, texts: Sequence[str], probs: np.ndarray, model: Model) -> None:
        self.metrics.batch(texts, probs, model)
        self.drift.look(texts, probs, model)

    async def predict(self, texts: list[str]) -> Answer:
        """Probabilities, after a look at how many texts and of what length. Raises: InputError; Overloaded."""
        if len(texts) > self.settings.most_texts:
            raise InputError(f"{len(texts):,} texts in one request; {self.settings.most_texts:,} are allowed")
        if not texts:
            return Answer(np.zeros((0, len(self.watched.model.labels)), np.float32), self.watched.model)
        for place, text in enumerate(texts):
            try:
                text.encode()
            except UnicodeEncodeError:
                raise InputError(f"text {place} is not valid Unicode (half of a surrogate pair)") from None
        return await self.batcher.predict(texts)

    async def keep_fresh(self) -> None:
        """Look for a newer student until cancelled."""
        while True:
            await asyncio.sleep(self.settings.reload_seconds)
            if await asyncio.to_thread(self.watched.refresh):
                self.metrics.reloaded()
                self.drift = self._drift_watch()


def create_app(settings: Settings) -> FastAPI:
    """The ASGI application. Raises: InputError: no student at the path, or no token where one is needed."""
    token = token_for(settings)
    service = Service(settings)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        watcher = asyncio.create_task(service.keep_fresh())
        place = f"[{settings.host}]" if ":" in settings.host else settings.host
        print(
            f"serving {settings.path} ({service.watched.model.version}) on http://{place}:{settings.port}", flush=True
        )
        try:
            yield
        finally:
            watcher.cancel()
            await service.batcher.close()

    app = FastAPI(
        title="Tutelage student",
        version=tutelage.__version__,
        description=_ABOUT,
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.service = service
    _add_routes(app, service)
    _add_errors(app)
    app.add_middleware(_Counted, metrics=service.metrics, paths=[route.path for route in app.routes])  # type: ignore[attr-defined]
    app.add_middleware(
        Doors,
        hosts=settings.hosts,
        token=token,
        most_bytes=settings.most_bytes,
        patience=settings.patience,
        rate=settings.rate,
    )
    return app


def from_environment() -> FastAPI:
    """The application of a worker process, whose settings are in the environment."""
    return create_app(Settings.model_validate_json(os.environ[SETTINGS]))


def _add_routes(app: FastAPI, service: Service) -> None:
    @app.post("/predict", response_model=shapes.PredictReply, response_model_exclude_none=False, tags=["student"])
    async def predict(body: shapes.PredictRequest) -> Response:
        """Label one text or several."""
        answer = await service.predict(body.all_texts)
        rows = shapes.predictions(answer.model, answer.probs, body.threshold, body.probabilities)
        return JSONResponse({"predictions": rows, "student": answer.model.version})

    @app.get("/labels", tags=["student"])
    async def labels() -> dict[str, object]:
        """The labels, with their definitions where the student has them."""
        model = service.watched.model
        scheme = model.student.scheme_
        told = {label.name: label.definition for label in scheme.labels} if scheme else {}
        rows = [{"label": name, "definition": told.get(name, "")} for name in model.labels]
        return {"labels": rows, "several_per_text": model.multi}

    @app.get("/health", tags=["service"])
    async def health() -> dict[str, object]:
        """Whether the service works, which student it serves, and what its drift monitor sees."""
        watched = service.watched
        made_by = watched.model.student.provenance_ or {}
        return {
            "status": "ok", "student": watched.model.version, "tier": watched.model.student.tier,
            "teacher": made_by.get("teacher"), "reloads": watched.reloads, "reload_fault": watched.fault,
            "waiting": service.batcher.waiting, "drift": service.drift.state(),
        }  # fmt: skip

    @app.get("/metrics", tags=["service"], response_class=Response)
    async def metrics() -> Response:
        """Counters for Prometheus."""
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.post("/v1/chat/completions", tags=["as other services"])
    async def chat(body: shapes.ChatRequest) -> Response:
        """As OpenAI's: the last user message's text, labelled; the form of the answer follows `response_format`."""
        answer = await service.predict([shapes.document_of(body.messages, service.settings.marker)])
        return JSONResponse(shapes.chat_reply(body, answer.model, answer.probs))

    @app.get("/v1/models", tags=["as other services"])
    async def models() -> dict[str, object]:
        """As OpenAI's: the one model there is."""
        entry = {
            "id": f"student-{service.watched.model.version}",
            "object": "model",
            "created": 0,
            "owned_by": "tutelage",
        }
        return {"object": "list", "data": [entry]}

    @app.post("/models/{name:path}", tags=["as other services"])
    async def classify(name: str, body: shapes.ClassifyRequest) -> Response:
        """As Hugging Face's text classification; the name is not looked at."""
        texts = [body.inputs] if isinstance(body.inputs, str) else body.inputs
        answer = await service.predict(texts)
        return JSONResponse(shapes.classify_reply(body, answer.model, answer.probs))

    @app.get("/", include_in_schema=False)
    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        """A page that says what can be asked, with a form to try it."""
        page = files("tutelage.serving").joinpath("docs.html").read_text(encoding="utf-8")
        policy = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'"
        return HTMLResponse(page, headers={"content-security-policy": policy, "x-frame-options": "DENY"})


def _add_errors(app: FastAPI) -> None:
    @app.exception_handler(InputError)
    async def bad_input(_: Request, error: InputError) -> JSONResponse:
        return JSONResponse({"error": str(error)}, 422)

    @app.exception_handler(RequestValidationError)
    async def bad_request(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"] if part != "body")
        message = str(first["msg"]).removeprefix("Value error, ")
        return JSONResponse({"error": f"{place}: {message}" if place else message}, 422)

    @app.exception_handler(Overloaded)
    async def overloaded(_: Request, error: Overloaded) -> JSONResponse:
        return JSONResponse({"error": "too many texts wait already; try again in a moment"}, 503, {"retry-after": "1"})


class _Counted:
    """Counts and times every request by its route's path, so that made-up paths do not fill the metrics."""

    def __init__(self, app: ASGIApp, metrics: Metrics, paths: list[str]) -> None:
        self._app, self._metrics, self._paths = app, metrics, set(paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status, started = 500, time.perf_counter()

        async def note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, note)
        finally:
            path = scope["path"]
            known = path if path in self._paths else "/models" if path.startswith("/models/") else "other"
            self._metrics.request(known, status, time.perf_counter() - started)
