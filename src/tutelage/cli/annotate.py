"""`tutelage annotate`: the teacher labels the texts; every answer goes into the ledger."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from tutelage.cli import options as o
from tutelage.cli.ui import Screen

if TYPE_CHECKING:
    from tutelage.pipeline.folder import Run
    from tutelage.pipeline.teacher import Service
    from tutelage.teachers.base import Teacher


def annotate(
    texts: o.Texts,
    labels: o.Labels = None,
    teacher: o.TeacherSpec = "zero-shot",
    out: o.Out = None,
    text: o.TextColumn = None,
    id: o.IdColumn = None,
    lang: o.LangColumn = None,
    max_words: o.MaxWords = 512,
    limit: o.Limit = None,
    strict: o.Strict = False,
    gold: o.Gold = None,
    gold_share: o.GoldShare = None,
    base_url: o.BaseUrl = None,
    budget: o.Budget = None,
    price: o.Price = None,
    temperature: o.Temperature = None,
    votes: o.Votes = 1,
    repairs: o.Repairs = 1,
    wire: o.Wire = "names",
    explain: o.Explain = False,
    concurrency: o.Concurrency = 8,
    rpm: o.Rpm = None,
    tpm: o.Tpm = None,
    batch: o.Batch = False,
    retry_failed: o.RetryFailed = False,
    rerun: o.Rerun = 0,
    until_flat: o.UntilFlat = False,
    dry_run: o.DryRun = False,
    engine: o.Engine = "local",
    workers: o.Workers = None,
    seed: o.Seed = 0,
    quiet: o.Quiet = False,
    json: o.Json = False,
) -> None:
    """Ask the teacher about every text once; interrupt and repeat it at will."""
    from tutelage.cli.runs import open_run, rehearsed, service
    from tutelage.pipeline.annotate import annotate as run_annotation
    from tutelage.pipeline.teacher import teacher_of

    screen = Screen(quiet=quiet, json=json)
    how = service(budget, concurrency, rpm, tpm, batch, retry_failed)
    if engine == "ray":
        from tutelage.pipeline.annotate_ray import check_spread

        check_spread(teacher, how)
    else:
        o.check_engine(engine, workers)
    options = {
        "teacher": teacher, "text": text, "id": id, "lang": lang, "gold": gold, "gold_share": gold_share,
        "base_url": base_url, "temperature": temperature, "votes": votes, "repairs": repairs, "wire": wire,
        "explain": explain, "price": price, "rerun": rerun, "max_words": max_words, "strict": strict, "seed": seed,
    }  # fmt: skip
    if dry_run:
        with rehearsed(texts, labels, out, **options) as (run, place):
            show_dry_run(screen, run, place, how, limit)
        return
    run = open_run(texts, labels, out, **options)
    asked: Teacher
    if engine == "ray":
        from tutelage.pipeline.annotate_ray import Spread

        asked = Spread(run, workers)
    else:
        asked = teacher_of(run, how)
    with run.working(), screen.progress("annotating") as progress:
        summary = run_annotation(run, asked, limit=limit, until_flat=until_flat, progress=progress, log=screen.note)
    cost = f", {summary['cost']:.4f} {summary['currency']}" if summary["currency"] else ""
    screen.result(
        summary,
        f"{summary['answered']:,} of {summary['texts']:,} texts answered, {summary['failed']:,} failed, "
        f"{summary['requests']:,} requests{cost}. Next: tutelage train {run.path}",
    )


def show_dry_run(screen: Screen, run: Run, place: Path, how: Service, limit: int | None) -> None:
    """One full prompt and what the annotation would cost beyond what the ledger in `place` holds; nothing is asked."""
    import pyarrow as pa

    from tutelage.errors import InputError
    from tutelage.pipeline.pool import prepare
    from tutelage.pipeline.teacher import teacher_of
    from tutelage.teachers.ledger import Ledger

    with run.working():
        prepare(run, log=screen.note)
    teacher = teacher_of(run, how)
    rehearse = getattr(teacher, "dry_run", None)
    if rehearse is None:
        raise InputError(f"the teacher {teacher.name} sends no prompts: there is nothing to rehearse")
    tables = [run.table("gold").select(["id", "text"])] if run.has("gold") else []
    pool = run.table("pool").select(["id", "text"])
    asked = pa.concat_tables([*tables, pool if limit is None else pool.slice(0, limit)])
    held = place / "labels.sqlite"
    with Ledger(held, readonly=True) if held.exists() else nullcontext() as ledger:
        shown = rehearse(asked, run.config.labels, ledger=ledger)
    screen.result(vars(shown), str(shown))
