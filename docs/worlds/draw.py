"""Draw the pictures of the worlds: `python docs/worlds/draw.py [NAME …]` writes NAME.png beside this file, twelve samples each.

One function a world; its name is the picture's.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl

mpl.use("agg")
import matplotlib.pyplot as plt
import torch
from matplotlib.figure import Figure

HERE = Path(__file__).parent


def digit_bags() -> Figure:
    """Twelve bags, the first 40 instances of each; frames: green easy, red hard positives."""
    from tutelage.worlds.digits import DigitBags

    bags = DigitBags(noise=0.1).batch(12, torch.Generator().manual_seed(0))
    figure, axes = plt.subplots(3, 4, figsize=(10, 5.2))
    for axis, x, y, truth in zip(axes.flat, bags["x"], bags["y"], bags["truth"], strict=True):
        tiles = x[:40].view(4, 10, 8, 8)
        canvas = torch.nn.functional.pad(tiles, (1, 1, 1, 1), value=0.5).permute(0, 2, 1, 3).reshape(40, 100)
        axis.imshow(canvas, cmap="gray_r", vmin=-0.1, vmax=1.1)
        for place in truth[:40].nonzero().flatten().tolist():
            row, column = divmod(place, 10)
            colour = "tab:green" if truth[place] == 1 else "tab:red"
            axis.add_patch(plt.Rectangle((10 * column, 10 * row), 9, 9, fill=False, color=colour, lw=1.5))
        axis.set_title("positive bag" if y else "negative bag", fontsize=9)
        axis.axis("off")
    return figure


def stick_figures() -> Figure:
    """Twelve people; left joints blue, right ones orange, the middle ones white; crosses: hidden."""
    from tutelage.worlds.stick_figures import PAIRS, SIDE, StickFigures

    people = StickFigures().batch(12, torch.Generator().manual_seed(0))
    colours = ["white"] * people["joints"].shape[1]
    for left, right in PAIRS:
        colours[left], colours[right] = "tab:blue", "tab:orange"
    figure, axes = plt.subplots(3, 4, figsize=(8, 6.2))
    for axis, x, joints, hidden in zip(axes.flat, people["x"], people["joints"], people["truth"], strict=True):
        axis.imshow(x[0], cmap="gray", vmin=0, vmax=1)
        for (px, py), colour, covered in zip(joints.tolist(), colours, hidden.tolist(), strict=True):
            axis.plot(px, py, "x" if covered else "o", color=colour, ms=4, mew=1.5)
        axis.set_xlim(-0.5, SIDE - 0.5)
        axis.set_ylim(SIDE - 0.5, -0.5)
        axis.axis("off")
    return figure


def learners() -> Figure:
    """Twelve learners and three concepts: lines, the hidden chance of a right answer; filled dots right, empty ones wrong.

    First six: knowledge drifts ("ou"); the others learn step by step ("bkt").
    """
    from tutelage.students.learners import Learners

    figure, axes = plt.subplots(3, 4, figsize=(10, 5.4), sharex=True, sharey=True)
    cohorts = [Learners(6, 3, 40, "ou").cohort(4), Learners(6, 3, 40, "bkt").cohort(1)]
    for number, axis in enumerate(axes.flat):
        log, chance, *_ = cohorts[number // 6]
        rows = log.sequence == number % 6
        for concept, colour in enumerate(("tab:blue", "tab:orange", "tab:green")):
            those = rows & (log.concept == concept)
            step, right = log.step[those], log.correct[those]
            axis.plot(step, chance[those], color=colour, lw=1)
            axis.scatter(
                step, chance[those], s=16, edgecolors=colour, facecolors=[colour if r else "white" for r in right]
            )
        axis.set_ylim(0, 1)
        axis.set_title("drifts" if number < 6 else "learns", fontsize=8)
        axis.tick_params(labelsize=7)
    return figure


def mod_chains() -> Figure:
    """Twelve rows, four in each notation; what a model is to predict is black, a wrong total is red."""
    from tutelage.worlds.mod_chains import NOTATIONS, STEP, ModChains, text

    figure, axes = plt.subplots(1, 3, figsize=(9, 1.5))
    for axis, notation in zip(axes, NOTATIONS, strict=True):
        rows = ModChains(steps=2, notation=notation, given=0.5, corrupt=0.4).batch(
            4, torch.Generator().manual_seed(ord(notation[0]))
        )
        for line, (ids, mask, truth) in enumerate(zip(rows["ids"], rows["mask"], rows["truth"], strict=True)):
            row, start = text(ids), 6
            for place, character in enumerate(row):
                colour = "black" if mask[place] else "tab:gray"
                step = (place - start) // STEP
                if place >= start and step < 2:
                    said = row[start + step * STEP + 4]
                    value = int(said) if said.isdigit() else "abcdefghij".index(said)
                    colour = colour if value == truth[step] else "tab:red"
                axis.text(
                    place / len(row), 1 - line / 4, character, family="monospace", color=colour, fontsize=11, va="top"
                )
        axis.set_title(notation, fontsize=9)
        axis.axis("off")
    return figure


WORLDS: dict[str, Callable[[], Figure]] = {
    function.__name__: function for function in (learners, digit_bags, stick_figures, mod_chains)
}


def main(names: list[str]) -> None:
    """Write the pictures that are named, or all."""
    for name in names or list(WORLDS):
        figure = WORLDS[name]()
        figure.tight_layout(pad=0.4)
        figure.savefig(HERE / f"{name}.png", dpi=80)
        plt.close(figure)


if __name__ == "__main__":
    main(sys.argv[1:])
