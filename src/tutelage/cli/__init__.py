"""The command line: one thin file a verb; everything it does can be done from Python too."""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import NoReturn

import typer

from tutelage.cli import (
    agreement,
    annotate,
    demo,
    distill,
    doctor,
    evaluate,
    export,
    labels,
    ledger,
    methods,
    predict,
    refresh,
    report,
    serve,
    study,
    topics,
    trace,
    train,
    workbench,
)
from tutelage.errors import TutelageError

app = typer.Typer(
    name="tutelage",
    help="Turn a teacher that knows into a student that is small and fast.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done · 1 a bug · 2 bad input · 3 paused, the run resumes · 4 refused: people disagree with the "
    "teacher · 130 Ctrl-C · 141 nobody reads the output.",
)
_INTERRUPTED = "interrupted; everything done so far is kept, the same command goes on from there"
_MAIN, _STEPS, _USE = "The job", "Its steps", "Using the student"
_BOOKS, _TEACH, _HELP = "The literature", "Teaching people", "Looking around"
for _verb, _function, _panel in (
    ("distill", distill.distill, _MAIN),
    ("demo", demo.demo, _MAIN),
    ("annotate", annotate.annotate, _STEPS),
    ("train", train.train, _STEPS),
    ("evaluate", evaluate.evaluate, _STEPS),
    ("report", report.report, _STEPS),
    ("agreement", agreement.agreement, _STEPS),
    ("export", export.export, _USE),
    ("predict", predict.predict, _USE),
    ("serve", serve.serve, _USE),
    ("refresh", refresh.refresh, _USE),
    ("ui", workbench.ui, _USE),
    ("topics", topics.topics, _BOOKS),
    ("methods", methods.methods, _BOOKS),
    ("study", study.study, _BOOKS),
    ("trace", trace.trace, _TEACH),
    ("ledger", ledger.ledger, _HELP),
    ("doctor", doctor.doctor, _HELP),
):
    app.command(_verb, rich_help_panel=_panel)(_function)
app.add_typer(labels.app, name="labels", rich_help_panel=_HELP)


def _version(wanted: bool) -> None:
    if wanted:
        from tutelage import __version__

        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    """Turn a teacher that knows into a student that is small and fast."""


def main() -> None:
    """Run a command; a user's mistake is one line on standard error and an exit code (see `tutelage.errors`)."""
    from typer.exceptions import TyperException

    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")  # other libraries' bars would run through ours
    stdout = sys.stdout
    if isinstance(stdout, io.TextIOWrapper):
        stdout.reconfigure(errors="backslashreplace")  # a terminal that is not UTF-8, a name of a file that is not
    try:
        code = app(standalone_mode=False)
        if sys.stdout is not None:  # closed by the shell: `>&-`
            sys.stdout.flush()
    except TutelageError as error:
        _fail(str(error), error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        _fail(_INTERRUPTED, 130)
    except TyperException as error:  # a wrong option or argument
        show = getattr(error, "show", None)  # usage errors show themselves with the usage line
        if show is None:
            _fail(str(error), 2)
        show()
        code = error.exit_code
    except BrokenPipeError:
        _reader_is_gone()
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            _fail(f"no such file: {str(error.filename)[:60]}… (a text goes into a file, or into standard input: -)", 2)
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        _drop_output()
        _fail(f"cannot write {error.filename or 'the output'}: {error.strerror}", 2)
    except SystemExit as end:
        if sys.stdout is not stdout or isinstance(end.__context__, BrokenPipeError):  # how typer and rich report it
            _reader_is_gone()
        raise
    if code == 130:  # how typer reports Ctrl-C
        _fail(_INTERRUPTED, 130)
    sys.exit(code if isinstance(code, int) else 0)


def _fail(message: str, code: int) -> NoReturn:
    print(f"tutelage: {' '.join(message.split())}", file=sys.stderr)
    raise SystemExit(code) from None


def _reader_is_gone() -> NoReturn:
    """End like any Unix filter whose output nobody reads."""
    _drop_output()
    raise SystemExit(141) from None


def _drop_output() -> None:
    """Nothing is left that could be flushed, at exit, into a closed pipe or onto a full disk."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.__stdout__.fileno() if sys.__stdout__ else 1)
