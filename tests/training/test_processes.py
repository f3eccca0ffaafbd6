"""Two processes with halves of each batch are one process with whole batches."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import torch
from accelerate.state import PartialState
from safetensors.torch import load_file
from torch import nn

from tutelage.training import Callback, Lesson, fit, gather_rows, save_weights, seeded

SCRIPT = Path(__file__)


class Remembering(Lesson):
    """Plain training with a store of predictions that all processes share, and one head that is never used."""

    def __init__(self) -> None:
        super().__init__()
        with seeded(0, "init"):
            self.student = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))
        self.unused = nn.Linear(4, 4)
        nn.init.ones_(self.unused.weight)
        nn.init.ones_(self.unused.bias)
        self.register_buffer("past", torch.zeros(16, 2))

    def losses(self, batch, progress):
        logits = self.student(batch["x"])
        self.past[gather_rows(batch["index"])] = gather_rows(logits.detach())
        return {"ce": nn.functional.cross_entropy(logits, batch["y"])}


class PowerCut(Callback):
    """Ends a run after its third step, as a crash would."""

    def after_step(self, run) -> None:
        if run.progress.step == 3:
            raise KeyboardInterrupt


def train(out: str, checkpoint: str | None = None, callback: Callback | None = None) -> None:
    x = torch.randn(16, 4, generator=torch.Generator().manual_seed(0))
    lesson = Remembering()
    options = {"epochs": 3, "batch_size": 8, "lr": 0.1, "clip": 0.7, "device": "cpu", "checkpoint_every": 1}
    callbacks = [callback or Callback()]
    history = fit(lesson, (x, (x[:, 0] > 0).long()), checkpoint=checkpoint, callbacks=callbacks, **options)
    lesson.register_buffer("processes", torch.tensor(float(PartialState().num_processes)))
    lesson.register_buffer("curve", torch.tensor(history["ce"]))
    if os.environ.get("RANK", "0") == "0":
        save_weights(lesson, out)


def test_two_processes_are_one_and_go_on_after_a_cut(tmp_path: Path) -> None:
    train(str(tmp_path / "one"))
    # On CPUs `accelerate launch` needs MPI for several processes; torchrun is what it runs on GPUs.
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(SCRIPT)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "1"}
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    arguments = [str(tmp_path / "two"), str(tmp_path / "run.safetensors")]
    done = subprocess.run(
        command + arguments, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    one, two = load_file(tmp_path / "one"), load_file(tmp_path / "two")
    assert (one.pop("processes"), two.pop("processes")) == (1, 2)
    assert one.keys() == two.keys()
    for name in one:
        assert torch.allclose(one[name], two[name], atol=1e-5), name


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        train(*sys.argv[1:], PowerCut())
    train(*sys.argv[1:])
