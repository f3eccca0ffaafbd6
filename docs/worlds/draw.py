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


def modular() -> Figure:
    """Twelve tables of i and j, coloured by the answer; white: not for training, grey: the mirror of another question.

    Rows: addition, the quadratic form, subtraction; shares for training from 0.3 to almost 1.
    """
    from tutelage.worlds.modular import ModularArithmetic

    figure, axes = plt.subplots(3, 4, figsize=(8, 6.4))
    worlds = [ModularArithmetic(23), ModularArithmetic(23, "quadratic"), ModularArithmetic(23, "subtract", False)]
    for row, world in zip(axes, worlds, strict=True):
        for axis, share in zip(row, (0.3, 0.45, 0.6, 0.999), strict=True):
            train, test = world.split(share, torch.Generator().manual_seed(0))
            table = torch.full((23, 23, 3), 0.85)
            table[*test["x"].T] = 1.0
            table[*train["x"].T] = torch.tensor(mpl.colormaps["hsv"](train["y"] / 23), dtype=torch.float32)[:, :3]
            axis.imshow(table)
            axis.set_title(f"{world.operation}, {share:.0%}", fontsize=8)
            axis.axis("off")
    return figure


def corrupted_digits() -> Figure:
    """A clean digit of the stream, and what each corruption makes of it: black 0, white 1."""
    from tutelage.worlds.corruptions import CORRUPTIONS
    from tutelage.worlds.digit_stream import CorruptedDigitStream

    clean = CorruptedDigitStream().clean().x[4:5]
    generator = torch.Generator().manual_seed(0)
    pictures = {"clean": clean} | {name: corrupt(clean, generator) for name, corrupt in CORRUPTIONS.items()}
    figure, axes = plt.subplots(2, 6, figsize=(8, 3.1))
    for axis, (name, x) in zip(axes.flat, pictures.items(), strict=True):
        axis.imshow(x[0, 0], cmap="gray", vmin=0, vmax=1)
        axis.set_title(name, fontsize=9)
        axis.axis("off")
    return figure


def string_tasks() -> Figure:
    """Twelve rows, at least one of each task; what a model is to predict is black."""
    from tutelage.worlds.string_tasks import SKILLS, StringTasks, text

    figure, axes = plt.subplots(3, 4, figsize=(9, 2))
    generator = torch.Generator().manual_seed(0)
    world = StringTasks()
    for axis, skill in zip(axes.flat, [*SKILLS, "sort", "count"], strict=True):
        rows = world.rows(skill, 1, generator)
        for place, character in enumerate(text(rows["ids"][0])):
            colour = "black" if rows["mask"][0, place] else "tab:gray"
            axis.text(place / world.length, 0.1, character, family="monospace", color=colour, fontsize=13)
        axis.set_title(skill, fontsize=9, loc="left")
        axis.axis("off")
    return figure


def digit_views() -> Figure:
    """Three digits in twelve domains: six angles, six cameras."""
    from tutelage.data.digits import digits
    from tutelage.worlds.digit_views import DigitViews

    (few,) = digits(3, 3)
    angles = [(f"{angle}°", DigitViews(rotate=angle)) for angle in range(0, 360, 60)]
    cameras = [(f"camera {number}", DigitViews(camera=number)) for number in range(6)]
    figure, axes = plt.subplots(2, 6, figsize=(10, 2.2))
    for axis, (name, world) in zip(axes.flat, angles + cameras, strict=True):
        canvas = torch.nn.functional.pad(world.view(few.x).view(3, 8, 8), (0, 1), value=0.5).transpose(0, 1).flatten(1)
        axis.imshow(canvas, cmap="gray_r", vmin=0, vmax=1.5 if world.camera is not None else 1)
        axis.set_title(name, fontsize=8)
        axis.axis("off")
    return figure


WORLDS: dict[str, Callable[[], Figure]] = {
    function.__name__: function
    for function in (
        learners,
        digit_bags,
        stick_figures,
        mod_chains,
        string_tasks,
        modular,
        corrupted_digits,
        digit_views,
    )
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
