"""Running the workbench: uvicorn on one thread, impatient with slow clients, and an end that interrupts what it started."""

from __future__ import annotations

import logging
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING

import uvicorn

from tutelage.serving.run import Impatient, listen
from tutelage.web.settings import Settings

if TYPE_CHECKING:
    from fastapi import FastAPI

CONNECTIONS = 256


class Server(uvicorn.Server):
    """uvicorn that tells the pages to close their event streams when it is asked to end."""

    def __init__(self, config: uvicorn.Config, closing: Callable[[], None]) -> None:
        super().__init__(config)
        self._closing = closing

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._closing()
        super().handle_exit(sig, frame)


def serve(settings: Settings, say: Callable[[str], None] = print) -> None:
    """Serve until SIGTERM or Ctrl-C; `say` is told the start address, which holds the token.

    Raises: InputError: the port is taken, or a folder cannot be used.
    """
    from tutelage.web.app import create_app

    listener = listen(settings.host, settings.port)
    settings = settings.model_copy(update={"port": listener.getsockname()[1]})
    app = create_app(settings)
    say(f"workbench: {settings.address}?token={settings.token}")
    try:
        Server(config_of(app), app.state.workbench.closing.set).run(sockets=[listener])
    finally:
        app.state.workbench.jobs.stop_all()  # a second Ctrl-C skips the orderly end, but not this


def config_of(app: FastAPI) -> uvicorn.Config:
    """How uvicorn runs the pages: few connections, none of them patient."""
    return uvicorn.Config(
        app, http=Impatient, log_level=logging.WARNING, access_log=False, server_header=False, timeout_graceful_shutdown=5,
        timeout_keep_alive=30, limit_concurrency=CONNECTIONS, backlog=CONNECTIONS, ws="none", proxy_headers=False,
    )  # fmt: skip
