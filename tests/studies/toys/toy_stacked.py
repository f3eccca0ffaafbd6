"""All arms and seeds in one call, tuned on a grid whose best setting is 2: the score is −(lr − 2)², plus one for ours."""

from __future__ import annotations

from collections.abc import Sequence

from toy_shared import Settings, noise, write

from tutelage.studies import Arm, Metric, Paper, Part, Study, Trial, beats


def stacked(data: Sequence[float], trials: Sequence[Trial[Settings]]) -> list[dict[str, float]]:
    results = []
    for shift, trial in zip(data, trials, strict=True):
        write(trial)
        trial.budget.count(steps=10, examples=50)
        validation = -((trial.choice["lr"] - 2.0) ** 2)
        results.append({"validation": validation, "score": validation + shift + (trial.arm == "ours")})
    return results


GRID = ({"lr": 1.0}, {"lr": 2.0}, {"lr": 3.0})
ROWS = Part(
    data=noise,
    arms=(
        Arm("base", "baseline", grid=GRID),
        Arm("ours", "method", grid=GRID),
        Arm("bound", "reference", grid=GRID[:1]),
    ),
    metrics=(Metric("score"), Metric("validation", shown=False)),
    bars=(beats("ours", "base", "score", by=0.5, wins=1.0),),
    settings=Settings(),
    fast=Settings(steps=1),
    name="rows",
    stacked=stacked,
    tuned_by="validation",
)
STUDY = Study("stacked", Paper("A Stack", "Nobody", 2020), "ours beats base", (ROWS,))
