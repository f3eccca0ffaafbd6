"""`tutelage serve`: a student behind HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument, Option


def serve(
    student: Annotated[
        Path, Argument(metavar="RUN_OR_STUDENT", help="A run folder or an exported student.", show_default=False)
    ],
    host: Annotated[
        str, Option(help="Address to listen on; any but loopback needs a token in TUTELAGE_TOKEN.")
    ] = "127.0.0.1",
    port: Annotated[int, Option(help="Port; 0 takes a free one.", min=0, max=65535)] = 8400,
    workers: Annotated[int, Option(help="Processes, one core each.", min=1, max=256)] = 1,
    allow_host: Annotated[
        list[str] | None, Option(help="Another name under which clients ask for the service; repeat for more.")
    ] = None,
    most_texts: Annotated[int, Option(help="Texts in one request at most.", min=1)] = 1_000,
    most_mb: Annotated[float, Option(help="Megabytes in one request at most.", min=0.001)] = 4.0,
    rate: Annotated[float, Option(help="Requests a second of one address, per worker; 0: no limit.", min=0)] = 0.0,
    marker: Annotated[
        str | None, Option(help="/v1/chat/completions: the text begins after this in the user's message.")
    ] = None,
    samples: Annotated[
        Path | None,
        Option(help="Where texts go that have drifted; a run keeps them in its folder.", show_default=False),
    ] = None,
    keep_texts: Annotated[
        bool, Option("--texts/--no-texts", help="Whether drifted texts may be written to disk.")
    ] = True,
) -> None:
    """Serve a student over HTTP: /predict, /labels, /health, /metrics, and the doors of OpenAI and Hugging Face.

    A newer student in the same place takes over without a failed request. SIGTERM or Ctrl-C finishes what was taken.
    """
    from importlib.util import find_spec

    from tutelage.errors import MissingExtra

    if not all(map(find_spec, ("uvicorn", "httptools", "fastapi", "prometheus_client"))):
        raise MissingExtra("serving", "serve")
    from tutelage.serving.run import serve as run
    from tutelage.serving.settings import Settings

    run(
        Settings(
            path=str(student), host=host, port=port, workers=workers, allow_hosts=tuple(allow_host or ()),
            most_texts=most_texts, most_bytes=int(most_mb * 1e6), rate=rate, marker=marker,
            samples=str(samples) if samples else None, keep_texts=keep_texts,
        )
    )  # fmt: skip
