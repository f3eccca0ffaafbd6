"""Does a temperature that rises where a token is private keep secrets from the student, at no cost in perplexity?

Messages of an office (simulated, from real words), among them 20 canaries: "the access code of wanda is 4 8 1 5", one in
three of them once, four times or sixteen times. A recurrent language model learns the private text by heart; students of a
quarter of its width learn from it on the same text. The audit ranks 2,000 of the 10,000 codes of every canary.

All students of a seed start from the same weights and see the same batches; they differ in what they are told on which
token. Numbers are found by rules and names by a roster: with a perfect detector leaving private tokens out of the loss
altogether (redaction) is the simple rival, and it is printed beside the method. "No labels" leaves out the cross-entropy on
the text, so that whatever leaks has come through soft targets. "Surprise" knows no rules: private is what the teacher knows
and an outsider does not.

"High T" softens the targets of every token, with the student at its own temperature: the defence of somebody without a
detector. That is not what distillation calls a temperature of 20, which teacher and student share ("kd T = 20"): there it
cancels, the student fits the teacher's logits, and the secrets come along. Since this fits ordinary words best of all here,
the method is shown at that temperature too, with τ_max = 20 τ_0 as elsewhere.

No arm is tuned on exposure. Exposure is what one attack finds, and no formal privacy guarantee.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch

from tutelage.evaluation.privacy import CHANCE
from tutelage.methods.distillation.swing import PRIVATE, SwingDistillation, surprisal_gap
from tutelage.studies import (
    Arm,
    Bar,
    Finding,
    Metric,
    Paper,
    Part,
    Results,
    Role,
    Study,
    Trial,
    at_least,
    beats,
    judge,
)  # fmt: skip
from tutelage.studies.distillation._office import Office, Settings, network, office
from tutelage.training import child_seed, fit, one_cycle

MISSED = 0.2


@dataclass(frozen=True)
class Rule:
    """What an arm tells the student about which token."""

    tau0: float = 1.0
    tau_max: float = 1.0
    flatter: float = 1.0
    """Divides the teacher's logits on every token."""
    noise: float = 0.0
    soft: float = 1.0
    labels: float = 0.5
    detector: Literal["none", "rules", "missed", "surprise"] = "none"
    redacted: bool = False
    text: Literal["private", "public"] = "private"


SWING = Rule(tau_max=20.0, noise=1.0, detector="rules")
"""τ_0 = 1, τ_max = 20, as the method's class has them."""


def told(data: Office, rule: Rule, seed: int) -> dict[str, torch.Tensor]:
    """The text of an arm, with the degrees that its detector finds."""
    text = dict(data.private if rule.text == "private" else data.public)
    found = text["degree"]
    match rule.detector:
        case "none":
            text["degree"] = torch.zeros_like(found)
        case "missed":
            draw = torch.rand(found.shape, generator=torch.Generator().manual_seed(child_seed(seed, "missed")))
            text["degree"] = found * (draw >= MISSED)
        case "surprise":
            text["degree"] = surprisal_gap(data.said["private"], data.outsider, text["x"])
    if rule.redacted:
        text["mask"] = text["mask"] & (found < PRIVATE)
    return text


def arm(name: str, role: Role, rule: Rule) -> Arm[Office, Settings]:
    """A student taught by a rule."""

    def run(data: Office, trial: Trial[Settings]) -> dict[str, float]:
        s = trial.settings
        text, said = told(data, rule, trial.seed), data.said[rule.text]
        student = network(s.student, data.vocabulary, trial.seed)
        lesson = SwingDistillation(
            student,
            lambda batch: said[batch["index"]] / rule.flatter,
            tau0=rule.tau0,
            tau_max=rule.tau_max,
            noise=rule.noise,
            soft=rule.soft,
            labels=rule.labels,
        )
        fit(lesson, text, epochs=s.epochs, batch_size=s.batch, lr=s.lr, schedule=one_cycle(), seed=trial.seed)
        size = len(text["x"])
        trial.budget.count(steps=s.epochs * -(-size // s.batch), examples=s.epochs * size)
        return data.judged(student)

    return Arm(name, role, run)


def teacher(data: Office, trial: Trial[Settings]) -> dict[str, float]:
    """What there is to leak."""
    return data.judged(data.teacher)


def leaks_less(method: str, baseline: str, share: float, *, gated: bool = True, paper: str = "") -> Bar:
    """Above chance, the method's exposure is at most `share` of the baseline's, on every seed."""

    def test(r: Results) -> Finding:
        above = {name: r[name, "exposure"] - CHANCE for name in (method, baseline)}
        found = judge(share * above[baseline] - above[method], wins=1.0)
        fallen = 1 - above[method].mean() / above[baseline].mean()
        return replace(found, note=f"{found.note}; exposure above chance falls by {fallen:.0%}".replace("%", " %"))

    return Bar(f"exposure of {method} above chance ≤ {share:g} × {baseline}'s on every seed", test, gated, paper)


def beside(r: Results) -> str:
    """Where redaction stands, by the figures."""
    ours, theirs = (r[name, "exposure"] - CHANCE for name in ("swing", "redaction"))
    cost = r["swing", "perplexity"].mean() / r["redaction", "perplexity"].mean() - 1
    close = (
        "ties with"
        if abs(ours.mean() - theirs.mean()) < 0.5
        else "leaks less than"
        if ours.mean() < theirs.mean()
        else "leaks more than"
    )
    missed = (r["missed 20 %", "exposure"] - CHANCE).mean()
    return (
        f"With a detector that finds everything swing {close} leaving private tokens out of the loss ({ours.mean():+.2f} and "
        f"{theirs.mean():+.2f} bits above chance), at {cost:+.1%} perplexity; a detector that misses one token in five leaves "
        f"{missed:.2f} bits above chance. No formal privacy guarantee."
    )


STUDY = Study(
    slug="swing",
    paper=Paper(
        "Swing Distillation: A Privacy-Preserving Knowledge Distillation Framework", "Li et al.", 2022, "2212.08349"
    ),
    claim="a temperature that rises where a token is private removes most of the leak at no cost in perplexity",
    parts=(
        Part(
            data=office,
            arms=(
                Arm("teacher", "reference", teacher),
                arm("ce", "baseline", Rule(soft=0.0, labels=1.0)),
                arm("kd", "baseline", Rule()),
                arm("kd T = 2", "baseline", Rule(tau0=2.0, tau_max=2.0)),
                arm("kd T = 20", "baseline", Rule(tau0=20.0, tau_max=20.0)),
                arm("high T", "baseline", Rule(flatter=20.0)),
                arm("redaction", "baseline", Rule(redacted=True)),
                arm("swing", "method", SWING),
                arm("swing T = 20", "ablation", replace(SWING, tau0=20.0, tau_max=400.0)),
                arm("no noise", "ablation", replace(SWING, noise=0.0)),
                arm("noise only", "ablation", replace(SWING, tau_max=1.0)),
                arm("missed 20 %", "ablation", replace(SWING, detector="missed")),
                arm("surprise", "ablation", replace(SWING, detector="surprise")),
                arm("kd, no labels", "ablation", Rule(labels=0.0)),
                arm("swing, no labels", "ablation", replace(SWING, labels=0.0)),
                arm("kd, public text", "ablation", Rule(text="public")),
            ),
            metrics=(
                Metric("exposure", higher_is_better=False, unit="bits", digits=2),
                Metric("exposure 16x", higher_is_better=False, unit="bits", digits=2),
                Metric("extracted", higher_is_better=False),
                Metric("perplexity", higher_is_better=False, digits=2),
            ),
            bars=(
                leaks_less("swing", "kd", 0.4, paper="−80 %"),
                beats("swing", "kd", "perplexity", times=1.05),
                beats("swing", "high T", "perplexity"),
                at_least("teacher", "exposure 16x", 10.0, every_seed=True),
                leaks_less("swing", "kd T = 2", 0.4, gated=False),
                leaks_less("swing T = 20", "kd T = 20", 0.4, gated=False),
                beats("swing T = 20", "kd T = 20", "perplexity", times=1.05, gated=False),
                beats("swing", "kd T = 20", "perplexity", gated=False),
                leaks_less("swing, no labels", "kd, no labels", 0.4, gated=False),
                leaks_less("missed 20 %", "kd", 0.4, gated=False),
                leaks_less("surprise", "kd", 0.4, gated=False),
            ),
            settings=Settings(),
            fast=Settings(lines=60, test=10, canaries=3, secrets=100, teacher=8, teacher_epochs=1, student=8, epochs=1),
            seeds=5,
            first_seed=200,  # 100 to 104 judged an earlier form, which was changed after it
            sentence=beside,
        ),
    ),
)
