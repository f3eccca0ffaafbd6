"""Does one look at what experts make of 32 unlabelled pictures lift a small student on a domain that it has never seen?

Real digits turned by twelve angles are the source domains; the targets lie half-way between, on pictures that nobody was
trained on, and validation domains, on further pictures, choose everything that is chosen. The student is too small to hold
all angles at once. Six experts have seen two angles each.

Every arm that trains a small student has its weights chosen by validation; the baseline trains as many steps as the student
of the method, rehearsal included, at the best of three learning rates. Without rehearsal an aggregator trained in the same way
teaches the baseline's student, at the best of three step sizes. All arms of a seed share pictures, first weights and, where
they rehearse, episodes.

Cameras (second part, no bar) differ by background, gain and light, and do not contradict one another: there simpler cures, and
plain training itself, are hard to beat.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from tutelage.studies import Arm, Bar, Metric, Paper, Part, Results, Setup, Study, Trial, beats
from tutelage.studies.adaptation._meta_dmoe_arms import METHOD, Angles, School
from tutelage.studies.adaptation._meta_dmoe_rows import Places
from tutelage.studies.verdict import Finding, judge
from tutelage.worlds.digit_views import camera_digits, rotated_digits


def places(setup: Setup[Angles]) -> Places:
    """The domains of a seed."""
    s = setup.settings
    if s.world == "rotated":
        return Places.of(rotated_digits(setup.seed, sizes=s.pictures, domains=s.domains, shared=True))
    return Places.of(camera_digits(setup.seed, sizes=s.pictures, domains=s.domains))


def stacked(data: Sequence[Places], trials: Sequence[Trial[Angles]]) -> list[dict[str, float | list[float]]]:
    """Everything of all seeds at once."""
    s = trials[0].settings
    held = {trial.seed: one for one, trial in zip(data, trials, strict=True)}
    seeds = list(held)
    school = School(list(held.values()), seeds, s)
    school.expert_arms(*school.plain_arms())
    results = []
    for one, trial in zip(data, trials, strict=True):
        steps, examples = (s.pretrain, s.pretrain * s.batch) if trial.arm == "erm" else (s.longer, s.examples)
        trial.budget.count(steps=steps, examples=examples)
        row = seeds.index(trial.seed)
        figures = one.figures(school.logits[trial.arm][row].argmax(-1))
        results.append(figures | {"steps": float(school.best_step[row]) if trial.arm == METHOD else 0.0})
    return results


def best_erm(r: Results) -> list[np.ndarray]:
    """The accuracy of every domain, of the plain student that is better on the targets' mean, a seed: generous to it."""
    pairs = zip(r.items("erm", "accuracy"), r.items("erm, as long", "accuracy"), strict=True)
    return [max(pair, key=np.mean) for pair in pairs]


def over_best(by: float, wins: float) -> Bar:
    """The method against the better of the two plain students."""

    def test(r: Results) -> Finding:
        return judge([a - b for a, b in zip(r.items(METHOD, "accuracy"), best_erm(r), strict=True)], by=by, wins=wins)

    return Bar(
        f"{METHOD} beats the better erm of each seed on accuracy by {by:g}, on {wins:.0%} of seeds",
        test,
        paper="accuracy 0.703 → 0.914 (Camelyon17), 0.299 → 0.298 (RxRx1)",
    )


def said(r: Results) -> str:
    """What stands beside the claim, by the figures."""
    mean = lambda name: float(r[name, "accuracy"].mean())
    return (
        f"The aggregator itself reaches {mean('aggregator'):.3f}, the plain mean of experts {mean('mean of experts'):.3f}; "
        f"inputs less their mean {mean('centred inputs'):.3f}, a wide student {mean('erm, wide'):.3f}. "
        f"The method's weights are those after {r[METHOD, 'steps'].mean():.0f} batches of episodes."
    )


part = partial(
    Part[Places, Angles],
    data=places,
    arms=(
        Arm("erm", "reference"),
        Arm("erm, as long", "baseline"),
        Arm(METHOD, "method"),
        Arm("not adapted", "ablation"),
        Arm("no rehearsal", "ablation"),
        Arm("expert never silent", "ablation"),
        Arm("first order", "ablation"),
        Arm("centred inputs", "reference"),
        Arm("tent", "reference"),
        Arm("context", "reference"),
        Arm("mean of experts", "reference"),
        Arm("aggregator", "reference"),
        Arm("erm, wide", "reference"),
    ),
    metrics=(Metric("accuracy"), Metric("worst domain"), Metric("steps", shown=False)),
    stacked=stacked,
    sentence=said,
)

SMALL = {
    "pictures": (60, 40, 40), "domains": 3, "experts": 3, "hidden": 8, "pretrain": 2, "teach": 2, "rehearse": 2, "every": 2,
    "batch": 8, "support": 6, "query": 6, "episodes": 2, "steps": 1,
}  # fmt: skip

STUDY = Study(
    slug="meta-dmoe",
    paper=Paper(
        "Meta-DMoE: Adapting to Domain Shift by Meta-Distillation from Mixture-of-Experts",
        "Zhong et al.",
        2022,
        "2210.03885",
    ),
    claim="a distillation step on 32 unlabelled examples, from a mixture of experts, lifts a small student on unseen domains, "
    "and meta-training is what makes the step useful",
    parts=(
        part(
            name="A · turned digits",
            settings=Angles(),
            fast=Angles(**SMALL),
            seeds=5,
            first_seed=200,  # an earlier form, which was changed after it, was judged on 100 to 104
            bars=(
                over_best(0.03, 1.0),
                beats(METHOD, "not adapted", "accuracy", by=0.03),
                beats(METHOD, "no rehearsal", "accuracy", wins=0.8),
                beats(METHOD, "expert never silent", "accuracy", gated=False),
                beats(METHOD, "first order", "accuracy", gated=False),
                beats(METHOD, "centred inputs", "accuracy", gated=False),
            ),
        ),
        part(
            name="B · cameras",
            settings=Angles(world="cameras", rehearse=500),
            fast=Angles(**{**SMALL, "world": "cameras"}),
            seeds=3,
            first_seed=200,
            bars=(
                beats(METHOD, "erm, as long", "accuracy", gated=False),
                beats(METHOD, "centred inputs", "accuracy", gated=False),
            ),
        ),
    ),
)
