"""Running the service: uvicorn with one process a worker, patience with nobody, and an end that finishes what was taken."""

from __future__ import annotations

import logging
import os
import socket
import tempfile
from typing import TYPE_CHECKING

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from tutelage.errors import InputError
from tutelage.serving.settings import SETTINGS, Settings, token_for

if TYPE_CHECKING:
    from asyncio import TimerHandle, Transport

    from fastapi import FastAPI

GRACE = 30
"""Seconds that requests have to finish after SIGTERM or Ctrl-C."""
HEADER_SECONDS = 10.0
"""Seconds from the connection, or the first byte of a later request, to the end of the headers."""
CONNECTIONS = 2_048


class Impatient(HttpToolsProtocol):
    """HTTP that hangs up on a client whose headers do not arrive: else a few thousand idle sockets would be an outage."""

    _timer: TimerHandle | None = None

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._timer = self.loop.call_later(HEADER_SECONDS, transport.close)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if self._timer is None:
            self._timer = self.loop.call_later(HEADER_SECONDS, self.transport.close)

    def on_headers_complete(self) -> None:
        self._stop_timer()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or Ctrl-C.

    Raises: InputError: no student, no token where one is needed, or the port is taken.
    """
    from tutelage.serving.model import Model

    token_for(settings)
    if settings.workers > 1:
        Model.open(settings.path)  # a fault here is one line; in a worker it would be one traceback each
    listener = listen(settings.host, settings.port)
    settings = settings.model_copy(update={"port": listener.getsockname()[1]})
    os.environ[SETTINGS] = settings.model_dump_json()
    with tempfile.TemporaryDirectory(prefix="tutelage-metrics-") as counters:
        if settings.workers > 1:
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = counters
        config = uvicorn.Config(
            "tutelage.serving.app:from_environment" if settings.workers > 1 else _app(settings),
            factory=settings.workers > 1, http=Impatient, workers=settings.workers, log_level=logging.WARNING,
            access_log=False, server_header=False, timeout_graceful_shutdown=GRACE, timeout_keep_alive=30,
            limit_concurrency=CONNECTIONS, backlog=CONNECTIONS, ws="none", proxy_headers=False,
        )  # fmt: skip
        if settings.workers == 1:
            uvicorn.Server(config).run(sockets=[listener])
        else:
            from uvicorn.supervisors import Multiprocess

            Multiprocess(config, sockets=[listener]).run()


def _app(settings: Settings) -> FastAPI:
    from tutelage.serving.app import create_app

    return create_app(settings)


def listen(host: str, port: int) -> socket.socket:
    """The bound socket; port 0 takes a free one. Raises: InputError: it cannot be bound."""
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise InputError(f"cannot listen on {host}:{port}: {error.strerror or error}; choose another --port") from None
    listener.listen(CONNECTIONS)  # who comes while the student is loaded waits
    listener.set_inheritable(True)
    return listener
