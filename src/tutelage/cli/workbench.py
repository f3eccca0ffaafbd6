"""`tutelage ui`: the workbench."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument, Option


def ui(
    runs: Annotated[Path, Argument(metavar="RUNS", help="The folder of runs.")] = Path("runs"),
    texts: Annotated[Path, Option(help="The folder that corpora may be taken from, beside uploads.")] = Path(),
    traces: Annotated[Path, Option(help="The folder of traces (see `tutelage trace`).")] = Path("traces"),
    key_host: Annotated[
        list[str] | None,
        Option(
            metavar="URL",
            help="An address that OPENAI_API_KEY may be sent to, such as https://api.openai.com/v1; repeat for more. "
            "Without one the key is sent nowhere.",
            show_default=False,
        ),
    ] = None,
    scoreboard: Annotated[
        Path | None, Option(help="A studies.json to show instead of the package's.", show_default=False)
    ] = None,
    data: Annotated[
        Path | None, Option(envvar="TUTELAGE_DATA", help="Folder of other people's data.", show_default=False)
    ] = None,
    host: Annotated[str, Option(help="Address to listen on; traffic is not encrypted.")] = "127.0.0.1",
    port: Annotated[int, Option(help="Port; 0 takes a free one.", min=0, max=65535)] = 8500,
    allow_host: Annotated[
        list[str] | None, Option(help="Another name under which browsers ask for it; repeat for more.")
    ] = None,
) -> None:
    """Open the workbench: runs, review, reports, playground, studies and classroom as pages in a browser.

    It listens on loopback and prints the address to open, which holds a token. Ctrl-C ends it and interrupts the runs that
    it started; they resume.
    """
    from importlib.util import find_spec

    from tutelage.errors import MissingExtra

    if not all(map(find_spec, ("uvicorn", "httptools", "fastapi"))):
        raise MissingExtra("the workbench", "serve")
    from tutelage.teachers.llm.trust import origin
    from tutelage.web.server import serve
    from tutelage.web.settings import Settings

    settings = Settings(
        runs=runs,
        texts=texts,
        traces=traces,
        data=data,
        key_hosts=tuple(map(origin, key_host or ())),
        scoreboard=scoreboard,
        host=host,
        port=port,
        allow_hosts=tuple(allow_host or ()),
    )
    serve(settings, say=lambda line: print(line, flush=True))
