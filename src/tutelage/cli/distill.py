"""`tutelage distill`: texts, labels and a teacher in; a student and a report out."""

from __future__ import annotations

from tutelage.cli import options as o
from tutelage.cli.ui import Screen


def distill(
    texts: o.Texts,
    labels: o.Labels = None,
    teacher: o.TeacherSpec = "zero-shot",
    student: o.Tier = "auto",
    out: o.Out = None,
    text: o.TextColumn = None,
    id: o.IdColumn = None,
    lang: o.LangColumn = None,
    max_words: o.MaxWords = 512,
    limit: o.Limit = None,
    strict: o.Strict = False,
    gold: o.Gold = None,
    gold_share: o.GoldShare = None,
    force: o.Force = False,
    no_texts: o.NoTexts = None,
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
    encoder: o.Encoder = None,
    epochs: o.Epochs = None,
    target_temperature: o.TargetTemperature = 1.0,
    self_distill: o.SelfDistill = 0.0,
    shield: o.Shield = False,
    roster: o.Roster = None,
    seed: o.Seed = 0,
    quiet: o.Quiet = False,
    json: o.Json = False,
) -> None:
    """Label texts with a teacher, train a student on the labels, evaluate it and write the report.

    Every step resumes where it stopped: repeat the command, or give the run folder.
    """
    from tutelage.cli.annotate import show_dry_run
    from tutelage.cli.runs import open_run, rehearsed, service, show_summary
    from tutelage.pipeline.distill import finish

    screen = Screen(quiet=quiet, json=json)
    how = service(budget, concurrency, rpm, tpm, batch, retry_failed)
    options = {
        "teacher": teacher, "student": student, "text": text, "id": id, "lang": lang, "gold": gold,
        "gold_share": gold_share, "base_url": base_url, "temperature": temperature, "votes": votes, "repairs": repairs,
        "wire": wire, "explain": explain, "price": price, "rerun": rerun, "encoder": encoder, "epochs": epochs,
        "target_temperature": target_temperature, "self_distill": self_distill, "shield": shield, "roster": roster,
        "max_words": max_words, "strict": strict, "seed": seed,
    }  # fmt: skip
    if dry_run:
        with rehearsed(texts, labels, out, **options) as (run, place):
            show_dry_run(screen, run, place, how, limit)
        return
    run = open_run(texts, labels, out, **options)
    with screen.progress("annotating") as progress:
        done = finish(
            run, limit=limit, until_flat=until_flat, service=how, force=True,
            keep_texts=None if no_texts is None else not no_texts, progress=progress, log=screen.note,
        )  # fmt: skip
    show_summary(screen, run, done.metrics)
    from tutelage.pipeline.distill import refuse_unless

    refuse_unless(done.metrics, force, run)
