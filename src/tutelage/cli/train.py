"""`tutelage train`: from the teacher's labels to the student."""

from __future__ import annotations

from tutelage.cli import options as o
from tutelage.cli.ui import Screen


def train(
    run: o.RunFolder,
    student: o.Tier = "",
    encoder: o.Encoder = None,
    epochs: o.Epochs = None,
    target_temperature: o.TargetTemperature = None,
    self_distill: o.SelfDistill = None,
    shield: o.Shield = None,
    roster: o.Roster = None,
    quiet: o.Quiet = False,
    json: o.Json = False,
) -> None:
    """Train the student of a run on the labels it has; up to date already, it does nothing.

    Options that are not given stay as the run was configured.
    """
    from tutelage.cli.runs import retier
    from tutelage.pipeline.folder import Run
    from tutelage.pipeline.train import train as run_training

    screen = Screen(quiet=quiet, json=json)
    folder = retier(
        run, tier=student or None, encoder=encoder, epochs=epochs, target_temperature=target_temperature,
        self_distill=self_distill, shield=shield, roster=None if roster is None else str(roster.resolve()),
    )  # fmt: skip
    with folder.working():
        note = run_training(folder, log=screen.note)
        if folder.config != Run(run).config:
            folder.configure(folder.config)
    best = next(row for row in note["tried"] if row["chosen"])  # type: ignore[union-attr]
    screen.result(
        note,
        f"{best['tier']} learned from {note['labels']:,} labels of the teacher: macro-F1 {best['dev_macro_f1']:.3f} against "
        f"the teacher on dev. Next: tutelage evaluate {run}",
    )
