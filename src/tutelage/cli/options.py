"""The options that several verbs share, declared once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from tutelage.errors import InputError

_ASK, _TEXT, _TRUST, _LEARN = "Asking the teacher", "Texts", "Trust", "Student"

Texts = Annotated[
    str,
    Argument(help="A file, a folder of .txt, '-' or hf://NAME; or a run folder, which goes on.", show_default=False),
]
RunFolder = Annotated[Path, Argument(metavar="RUN", help="A run folder.", show_default=False)]
Labels = Annotated[
    str | None, Option(help="A built-in scheme (iptc, ag-news) or a .yaml, .json, .csv file.", show_default=False)
]
Out = Annotated[Path | None, Option(help="The run folder. [default: runs/NAME]", show_default=False)]
Quiet = Annotated[bool, Option("--quiet", "-q", help="No notes and no progress.")]
Json = Annotated[bool, Option("--json", help="Print the result as JSON.")]
Seed = Annotated[int, Option(help="Same seed, same figures.")]

TextColumn = Annotated[
    str | None, Option("--text", help="The text's column.", rich_help_panel=_TEXT, show_default=False)
]
IdColumn = Annotated[str | None, Option("--id", help="The id's column.", rich_help_panel=_TEXT, show_default=False)]
LangColumn = Annotated[
    str | None, Option("--lang", help="The language's column.", rich_help_panel=_TEXT, show_default=False)
]
MaxWords = Annotated[
    int, Option(help="Cut texts to so many words, for teacher and student alike.", rich_help_panel=_TEXT)
]
Strict = Annotated[
    bool, Option("--strict", help="A bad row is an error instead of a counted reject.", rich_help_panel=_TEXT)
]
Limit = Annotated[
    int | None, Option(help="Label at most so many texts.", min=1, rich_help_panel=_TEXT, show_default=False)
]

TeacherSpec = Annotated[
    str,
    Option(
        "--teacher",
        help="zero-shot[:ENCODER], openai:MODEL, llama:FILE.gguf, hf:NAME, human:FILE, ensemble:A+B, rubric:MODEL.",
        rich_help_panel=_ASK,
    ),
]
BaseUrl = Annotated[
    str | None, Option(help="The endpoint, such as http://localhost:8000/v1.", rich_help_panel=_ASK, show_default=False)
]
Budget = Annotated[
    str | None,
    Option(
        help="5usd, 5eur or 200000tok; never passed by more than what is in flight.",
        rich_help_panel=_ASK,
        show_default=False,
    ),
]
Price = Annotated[
    str | None,
    Option(help="IN/OUT per million tokens, such as 0.15/0.60usd.", rich_help_panel=_ASK, show_default=False),
]
Temperature = Annotated[
    float | None,
    Option(
        help="Sampling temperature; of zero-shot the softmax temperature.", rich_help_panel=_ASK, show_default=False
    ),
]
Votes = Annotated[int, Option(help="Answers per text; their shares become probabilities.", min=1, rich_help_panel=_ASK)]
Repairs = Annotated[
    int, Option(help="Times that an unusable answer is sent back with its error.", min=0, max=3, rich_help_panel=_ASK)
]
Wire = Annotated[str, Option(help="Answers as label 'names' or integer 'ids'.", rich_help_panel=_ASK)]
Explain = Annotated[
    bool, Option("--explain", help="Ask for a quote as evidence (longer answers).", rich_help_panel=_ASK)
]
Concurrency = Annotated[int, Option(help="Requests in flight.", min=1, rich_help_panel=_ASK)]
Rpm = Annotated[int | None, Option(help="Requests a minute.", min=1, rich_help_panel=_ASK, show_default=False)]
Tpm = Annotated[int | None, Option(help="Tokens a minute.", min=1, rich_help_panel=_ASK, show_default=False)]
Batch = Annotated[bool, Option("--batch", help="Use the provider's batch interface.", rich_help_panel=_ASK)]
RetryFailed = Annotated[
    bool, Option("--retry-failed", help="Ask again where the answer was unusable.", rich_help_panel=_ASK)
]
Rerun = Annotated[
    int,
    Option(help="Ask twice about so many texts, for the teacher's agreement with itself.", min=0, rich_help_panel=_ASK),
]
UntilFlat = Annotated[bool, Option("--until-flat", help="Stop when more labels no longer pay.", rich_help_panel=_ASK)]
DryRun = Annotated[
    bool, Option("--dry-run", help="Print one full prompt and the estimated cost; ask nothing.", rich_help_panel=_ASK)
]

Gold = Annotated[
    str | None,
    Option(
        help="Human labels, for evaluation only: a column of TEXTS, or a file.",
        rich_help_panel=_TRUST,
        show_default=False,
    ),
]
GoldShare = Annotated[
    float | None,
    Option(help="Share of a gold column that is held out. [default: 0.2]", rich_help_panel=_TRUST, show_default=False),
]
Force = Annotated[
    bool, Option("--force", help="Go on although people disagree with the teacher.", rich_help_panel=_TRUST)
]
NoTexts = Annotated[
    bool | None,
    Option(
        "--no-texts/--texts",
        help="A report without any text of the corpus. [default: as it was; a first one has texts]",
        rich_help_panel=_TRUST,
        show_default=False,
    ),
]

Tier = Annotated[str, Option("--student", help="auto, ngram, static, embedding or encoder.", rich_help_panel=_LEARN)]
Encoder = Annotated[
    str | None, Option(help="Encoder of the embedding or encoder student.", rich_help_panel=_LEARN, show_default=False)
]
TargetTemperature = Annotated[
    float | None,
    Option(help="Soften the teacher's probabilities (above 1) or sharpen them (below).", rich_help_panel=_LEARN),
]
SelfDistill = Annotated[
    float | None,
    Option(
        help="Share of the student's own past in its targets at the end (PS-KD): 0 to 0.95, 0.8 in the paper; not for ngram.",
        rich_help_panel=_LEARN,
    ),
]
Shield = Annotated[
    bool | None,
    Option(
        "--shield/--no-shield",
        help="Keep private tokens from the student, and measure what it keeps (no formal privacy guarantee).",
        rich_help_panel=_LEARN,
    ),
]
Roster = Annotated[
    Path | None,
    Option(
        help="A file of names, one a line, that the shield protects too.", rich_help_panel=_LEARN, show_default=False
    ),
]
Epochs = Annotated[
    int | None, Option(help="Epochs of the encoder student.", min=1, rich_help_panel=_LEARN, show_default=False)
]

Engine = Annotated[
    str, Option(help="local: this process. ray: several, here or on the cluster of RAY_ADDRESS (extra `ray`).")
]
Workers = Annotated[
    int | None,
    Option(
        help="Workers of one CPU each. [default: every CPU]",
        min=1,
        rich_help_panel="With --engine ray",
        show_default=False,
    ),
]


def check_engine(engine: str, workers: int | None) -> None:
    """Raises: InputError: an engine that there is not, or workers for the local one."""
    if engine != "local":
        raise InputError(f"unknown engine {engine!r}; there are local and ray")
    if workers is not None:
        raise InputError("--workers is for --engine ray; the local engine uses this process's CPUs by itself")
