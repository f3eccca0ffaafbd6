"""The whole job in one call: texts, label definitions and a teacher in; a trained, evaluated, reported student out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tutelage
from tutelage.data.labels import LabelScheme
from tutelage.errors import InputError, Paused, Refused
from tutelage.pipeline.annotate import annotate
from tutelage.pipeline.config import GoldConfig, RunConfig, StudentConfig, TeacherConfig, TextsConfig
from tutelage.pipeline.evaluate import evaluate
from tutelage.pipeline.folder import Run
from tutelage.pipeline.teacher import Service, teacher_of

if TYPE_CHECKING:
    from tutelage.students.base import Student
    from tutelage.teachers.base import Progress, Teacher


@dataclass(frozen=True)
class Distilled:
    """A finished job: its folder and its figures."""

    run: Run
    metrics: dict[str, Any]

    @property
    def report(self) -> Path:
        """The page for people."""
        return self.run.path / "report.html"

    @property
    def student(self) -> Student:
        """The student, loaded."""
        from tutelage.students import load_student

        return load_student(self.run.path / "student")


def configure(
    texts: str | Path,
    labels: str | Path | LabelScheme,
    *,
    teacher: str = "zero-shot",
    student: str = "auto",
    text: str | None = None,
    id: str | None = None,
    lang: str | None = None,
    gold: str | Path | None = None,
    gold_share: float | None = None,
    base_url: str | None = None,
    temperature: float | None = None,
    votes: int = 1,
    repairs: int = 1,
    wire: str = "names",
    explain: bool = False,
    price: str | None = None,
    rerun: int = 0,
    encoder: str | None = None,
    epochs: int | None = None,
    target_temperature: float = 1.0,
    self_distill: float = 0.0,
    shield: bool = False,
    roster: str | Path | None = None,
    max_words: int = 512,
    strict: bool = False,
    seed: int = 0,
) -> RunConfig:
    """Build a run's configuration from plain arguments. Raises: InputError: an argument out of range, by name."""
    from pydantic import ValidationError

    from tutelage.pipeline.config import validation_line

    scheme = labels if isinstance(labels, LabelScheme) else LabelScheme.load(labels)
    try:
        return RunConfig(
            tutelage=tutelage.__version__,
            texts=TextsConfig(source=_absolute(texts), text=text, id=id, lang=lang, strict=strict, max_words=max_words),
            labels=scheme,
            teacher=TeacherConfig.model_validate({
                "spec": _located(teacher), "base_url": base_url, "temperature": temperature, "votes": votes, "repairs": repairs,
                "wire": wire, "explain": explain, "price": price, "rerun": rerun,
            }),
            student=StudentConfig.model_validate({
                "tier": student, "encoder": encoder, "epochs": epochs, "target_temperature": target_temperature,
                "self_distill": self_distill, "shield": shield, "roster": None if roster is None else _absolute(roster),
            }),
            gold=gold_config(gold, gold_share) if gold is not None else None,
            seed=seed,
        )  # fmt: skip
    except ValidationError as error:
        raise InputError(validation_line(error)) from None


def gold_config(gold: str | Path, share: float | None = None) -> GoldConfig:
    """Human labels in a file, or in a column of the texts; a folder that is called like the column is not meant."""
    return GoldConfig(source=_absolute(gold) if Path(gold).is_file() else str(gold), share=share)


def distill(
    texts: str | Path,
    labels: str | Path | LabelScheme,
    *,
    out: str | Path,
    teacher: str | Teacher = "zero-shot",
    student: str = "auto",
    limit: int | None = None,
    until_flat: bool = False,
    service: Service | None = None,
    force: bool = False,
    keep_texts: bool | None = None,
    progress: Progress | None = None,
    log: Callable[[str], None] = lambda _: None,
    **options: Any,
) -> Distilled:
    """Label texts with a teacher, train a student on the labels, evaluate and report: the main job.

    Args:
        texts: a file, folder, "-" or hub id (see `tutelage.data.corpus`).
        labels: a scheme, a built-in scheme's name, or a file.
        out: the run folder; an existing run goes on where it stopped.
        teacher: what `make_teacher` understands ("zero-shot", "openai:MODEL", …), or a teacher of your own.
        student: "auto", "ngram", "static", "embedding" or "encoder".
        limit: label at most so many texts of the pool.
        until_flat: stop labelling when the learning curve says that more labels no longer pay.
        service: budget, concurrency and rate limits of an endpoint.
        force: train and report even if people disagree with the teacher.
        keep_texts: whether the report quotes texts; None: as it did before, and a first one does.
        options: the other arguments of `configure` (gold, lang, base_url, votes, self_distill, shield, seed, …).

    Returns: the run and its metrics. A spent budget does not stop the job: the student learns from what was bought.

    Raises: InputError: anything wrong with the arguments or files; Paused: the endpoint is down or nothing was labelled;
        Refused: the acceptance rule says not to distil from this teacher (the report is there all the same).
    """
    spec = teacher if isinstance(teacher, str) else teacher.name
    config = configure(texts, labels, teacher=spec, student=student, **options)
    run = Run.create(out, config)
    return finish(
        run, teacher if not isinstance(teacher, str) else None, limit=limit, until_flat=until_flat, service=service,
        force=force, keep_texts=keep_texts, progress=progress, log=log,
    )  # fmt: skip


def finish(
    run: Run,
    teacher: Teacher | None = None,
    *,
    limit: int | None = None,
    until_flat: bool = False,
    service: Service | None = None,
    force: bool = False,
    keep_texts: bool | None = None,
    progress: Progress | None = None,
    log: Callable[[str], None] = lambda _: None,
) -> Distilled:
    """Bring a run to its end from wherever it stands; see `distill`."""
    from tutelage.pipeline.report import publish

    with run.working():
        chosen = teacher if teacher is not None else teacher_of(run, service)
        try:
            annotate(run, chosen, limit=limit, until_flat=until_flat, progress=progress, log=log)
        except Paused as stop:
            from tutelage.teachers.llm.service import BudgetSpent

            if not isinstance(stop, BudgetSpent) or run.table("annotations").num_rows < 10:
                raise
            log(f"{stop}; the student learns from what was labelled")
        metrics = evaluate(run, log=log)
        publish(run, texts=keep_texts)
    refuse_unless(metrics, force, run)
    return Distilled(run, metrics)


def refuse_unless(metrics: dict[str, Any], force: bool, run: Run) -> None:
    """Raise `Refused` where people disagree with the teacher too much, unless forced."""
    verdict = metrics["acceptance"]
    if verdict["outcome"] == "refused" and not force:
        raise Refused(f"{verdict['sentence']} Figures: {run.path / 'report.html'} (--force accepts it all the same)")


def _located(spec: str) -> str:
    """A teacher's spec with its file, or those of an ensemble's members, under a path that still holds elsewhere."""
    kind, _, rest = spec.partition(":")
    if kind == "ensemble":
        return f"{kind}:{'+'.join(map(_located, rest.split('+')))}"
    if kind == "rubric":
        return f"{kind}:{_located(rest)}"
    return f"{kind}:{_absolute(rest)}" if kind in ("human", "llama") and Path(rest).is_file() else spec


def _absolute(source: str | Path) -> str:
    """A path that still holds when the run is resumed from another folder; other sources as they are."""
    there = Path(source).exists() and str(source) != "-"
    return str(Path(source).resolve()) if there else str(source)
