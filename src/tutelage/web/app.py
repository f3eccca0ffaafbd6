"""The workbench itself: FastAPI over the pages, behind a session and the doors of the service."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse, Response
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.staticfiles import StaticFiles

import tutelage
from tutelage.errors import Paused, TutelageError
from tutelage.serving.doors import Doors
from tutelage.web.bench import NotHere, Workbench, bench_of, is_htmx
from tutelage.web.pages import classroom, playground, report, review, runs, start, studies
from tutelage.web.session import Session, StrictHeaders
from tutelage.web.settings import Settings

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

STATIC = Path(__file__).parent / "static"
KINDS = ("application/x-www-form-urlencoded",)
"""What a form is; files come by PUT, which no form of another site can send."""


def create_app(settings: Settings) -> FastAPI:
    """The ASGI application of a workbench."""
    workbench = Workbench(settings)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        workbench.closing.set()
        await asyncio.to_thread(workbench.jobs.stop_all)

    async def locked(scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope)
        template = "relocked.html.j2" if is_htmx(request) else "locked.html.j2"
        await workbench.page(request, template, status=401)(scope, receive, send)

    app = FastAPI(
        title="Tutelage workbench",
        version=tutelage.__version__,
        openapi_url=None,
        lifespan=lifespan,
        middleware=[
            Middleware(StrictHeaders),
            Middleware(Session, token=settings.token, locked=locked),
            Middleware(
                Doors, hosts=settings.hosts, most_bytes=settings.most_bytes, patience=settings.patience, kinds=KINDS
            ),
        ],
    )
    app.state.workbench = workbench
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    for pages in (start, runs, review, report, playground, studies, classroom):
        app.include_router(pages.router)
    _add_errors(app)

    @app.get("/")
    async def home() -> Response:
        return RedirectResponse("/runs", 303)

    return app


def _add_errors(app: FastAPI) -> None:
    def fault(request: Request, why: str, status: int) -> Response:
        template = "fault.html.j2" if is_htmx(request) else "error.html.j2"
        return bench_of(request).page(request, template, status=status, why=why)

    @app.exception_handler(TutelageError)
    async def wrong(request: Request, error: TutelageError) -> Response:
        status = 404 if isinstance(error, NotHere) else 503 if isinstance(error, Paused) else 400
        return fault(request, " ".join(str(error).split()), status)

    @app.exception_handler(RequestValidationError)
    async def malformed(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        return fault(request, f"{'.'.join(map(str, first['loc'][1:]))}: {first['msg']}", 400)

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> Response:
        why = {404: "there is no such page", 405: "this page does not take that"}.get(error.status_code, error.detail)
        return fault(request, why, error.status_code)
