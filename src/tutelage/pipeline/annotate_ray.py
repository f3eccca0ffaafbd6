"""Annotation with Ray Data: texts in blocks, each labelled by one of several workers, here or on a cluster.

For teachers that compute (zero-shot, local models); an endpoint is asked by one process, which alone can keep its budget and its
rate. The ledger stays where it is and is written by this process only: a worker labels its block into a ledger of its own in
memory and sends the answers back, and they are kept as soon as they arrive. So the promises hold as they stand: a worker that
dies loses its block, which another one does again; a job that is resumed sends out only what the ledger does not hold.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from tutelage.errors import InputError, TutelageError
from tutelage.pipeline.cluster import cluster, ray_module
from tutelage.pipeline.folder import Run
from tutelage.pipeline.teacher import IMPORTED, Service, teacher_of
from tutelage.teachers.base import Pool, Progress, ProgressEvent
from tutelage.teachers.ledger import Ledger

if TYPE_CHECKING:
    from tutelage.data.labels import LabelScheme

BLOCK = 256
"""Texts that a worker labels at a time: what is lost with a worker."""
_ASKS = ("openai:", "human:", IMPORTED)


def check_spread(spec: str, how: Service | None = None) -> None:
    """That the teacher of a specification can be spread over workers, and is to be asked in no way that only one process can.

    Raises: InputError: a teacher that is asked over a network or has said all it will say, or such a way; MissingExtra: Ray is
        not installed.
    """
    if any(kind in spec for kind in _ASKS):
        raise InputError(
            f"--engine ray is for teachers that compute; {spec} is asked by one process (see --concurrency)"
        )
    usual = Service()
    asked = [name for name, value in vars(how or usual).items() if value != getattr(usual, name)]
    if asked:
        raise InputError(
            f"--{asked[0].replace('_', '-')} is kept by one process: leave it out, or leave out --engine ray"
        )
    ray_module()


class Assistant:
    """What a worker is: the run's teacher, made once and running on one thread, that labels one block after the other.

    A row of the data set is {"texts": JSON list, "sample": of the ledger}; it comes back with "answers", an Arrow stream of
    what its ledger then holds, or "error".

    Args: run: its folder, which all machines see; sources: what the run's ledger knows of fingerprints, such as the mean that
        a zero-shot teacher has settled on.
    """

    def __init__(self, run: str, sources: Mapping[str, Mapping[str, Any]]) -> None:
        from threadpoolctl import threadpool_limits

        os.environ["OMP_NUM_THREADS"] = "1"
        self._limits = threadpool_limits(limits=1)
        self._run, self._sources = Run(run), sources
        self._folder = tempfile.TemporaryDirectory(prefix="tutelage-")  # two processes do not share a cache of vectors
        self._teacher = teacher_of(self._run, encoder_cache=Path(self._folder.name) / "vectors.sqlite")

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        texts = json.loads(row["texts"])
        try:
            with Ledger(":memory:") as ledger:
                for fingerprint, known in self._sources.items():
                    ledger.describe(
                        fingerprint, str(known["kind"]), {name: known[name] for name in known if name != "kind"}
                    )
                table = pa.table({"id": [str(number) for number in range(len(texts))], "text": texts})
                self._teacher.annotate(table, self._run.config.labels, ledger=ledger, sample=int(row["sample"]))
                answers = ledger.to_table().drop_columns("id")
        except TutelageError as problem:  # as data, or Ray would wrap it in its own words and try again
            return {"answers": b"", "error": str(problem)}
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, answers.schema) as writer:
            writer.write_table(answers)
        return {"answers": sink.getvalue().to_pybytes(), "error": ""}


class Spread:
    """The teacher of a run, with several workers to label for it; to `annotate` it is a teacher like any other.

    Args: run: its folder must be seen by all machines under the same path; workers: of one CPU each, None takes every CPU.

    Raises: see `check_spread`.
    """

    def __init__(self, run: Run, workers: int | None = None) -> None:
        check_spread(run.config.teacher.spec)
        self._run, self._workers = run, workers
        self._own = teacher_of(run)

    @property
    def name(self) -> str:
        return self._own.name

    @property
    def fingerprint(self) -> str:
        return self._own.fingerprint

    def prompt_fingerprint(self, scheme: LabelScheme) -> str:
        return self._own.prompt_fingerprint(scheme)

    def answered(self, table: pa.Table, scheme: LabelScheme, ledger: Ledger, *, sample: int = 0) -> pa.Table:
        """See `Teacher.answered`."""
        return self._own.answered(table, scheme, ledger, sample=sample)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._own, name)  # what only some teachers can: settle, reworded

    def annotate(
        self, table: pa.Table, scheme: LabelScheme, *, ledger: Ledger | None = None, sample: int = 0,
        progress: Progress | None = None,
    ) -> pa.Table:  # fmt: skip
        """See `Teacher.annotate`. Raises: InputError: Ray cannot be reached or breaks down, or the teacher refuses."""
        if ledger is None:
            with Ledger(":memory:") as own:
                return self.annotate(table, scheme, ledger=own, sample=sample, progress=progress)
        pool = Pool.of(table, self._run.config.texts.max_words)
        teacher, prompt = self._own.fingerprint, self._own.prompt_fingerprint(scheme)
        ledger.register(pool.ids, pool.fingerprints, pool.truncated)
        held = ledger.get(teacher, prompt, pool.fingerprints, sample)
        texts = dict(zip(pool.fingerprints, pool.texts, strict=True))
        todo = [text for key, text in texts.items() if key not in held]
        blocks = [todo[start : start + BLOCK] for start in range(0, len(todo), BLOCK)]
        done = len(held)
        if blocks:
            with cluster(self._workers) as (ray, count):
                for answers in self._mapped(ray, min(count, len(blocks)), blocks, sample, ledger.sources()):
                    done += ledger.import_table(answers)
                    if progress:
                        progress(ProgressEvent(done, len(texts)))
        return self._own.answered(table, scheme, ledger, sample=sample)

    def _mapped(
        self, ray: Any, workers: int, blocks: Sequence[Sequence[str]], sample: int, sources: Mapping[str, Mapping[str, Any]]
    ) -> Iterator[pa.Table]:  # fmt: skip
        """The answers to the blocks, as they come."""
        rows = [{"texts": json.dumps(block), "sample": sample} for block in blocks]
        arguments = (str(self._run.path.resolve()), sources)
        answered = ray.data.from_items(rows, override_num_blocks=len(rows)).map(
            Assistant, fn_constructor_args=arguments, compute=ray.data.ActorPoolStrategy(size=workers), num_cpus=1
        )
        try:
            for row in answered.iter_rows():
                if row["error"]:
                    raise InputError(row["error"])
                table = pa.ipc.open_stream(row["answers"]).read_all()
                yield table.append_column("id", table["text_sha256"])
        except ray.exceptions.RayError as error:
            raise InputError(
                f"Ray could not go on: {' '.join(str(error).split())[:300]}; what was answered is kept"
            ) from None
