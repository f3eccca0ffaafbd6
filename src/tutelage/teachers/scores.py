"""A ranking teacher asked once: its scores of (query, positive, negative) triples, in a file of five columns.

    positive score   negative score   query   positive   negative          separated by tabs, one triple a line

This is the format in which Hofstätter et al. 2020 (arXiv:2010.02666) published their teachers' scores of MS MARCO. Asking
can be cut off at any time and goes on where it stopped.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pcsv

from tutelage.errors import InputError

Triple = tuple[str, str, str]
"""Names of a query, a relevant passage and another passage."""

Asked = Callable[[list[tuple[str, str]]], Sequence[float] | np.ndarray]
"""Pairs (query, passage) → a score each: a `CrossEncoder.predict` of sentence-transformers, or a function of one's own."""

SCORES = ("positive_score", "negative_score")
IDS = ("query", "positive", "negative")


def read_scores(path: str | Path) -> pa.Table:
    """The five-column file as a table with the columns `SCORES` (float64) and `IDS` (string).

    Raises: InputError: no such file, a row without five columns, a score that is not finite, a passage paired with itself.
    """
    try:
        table = pcsv.read_csv(
            path,
            read_options=pcsv.ReadOptions(column_names=[*SCORES, *IDS]),
            parse_options=pcsv.ParseOptions(delimiter="\t", quote_char=False),
            convert_options=pcsv.ConvertOptions(
                column_types=dict.fromkeys(SCORES, pa.float64()) | dict.fromkeys(IDS, pa.string())
            ),
        )
    except (OSError, pa.ArrowInvalid) as error:
        raise InputError(f"cannot read teacher scores from {path}: {str(error).splitlines()[0]}") from None
    finite = np.isfinite(score_matrix(table)).all(axis=1)
    differ = pc.not_equal(table["positive"], table["negative"]).to_numpy()
    for sound, what in ((finite, "a score that is not a finite number"), (differ, "the same passage twice")):
        bad = np.flatnonzero(~sound)
        if len(bad):
            raise InputError(f"{path}, line {bad[0] + 1}: {what} (so in {len(bad)} of {len(table)} lines)")
    return table


def score_triples(
    teacher: Asked,
    triples: Iterable[Triple],
    queries: Mapping[str, str],
    passages: Mapping[str, str],
    out: str | Path,
    *,
    batch_size: int = 64,
) -> pa.Table:
    """Ask the teacher about every triple, once, and keep its scores in `out`; a call that was cut off goes on there.

    Args: queries, passages: id → text.

    Raises: InputError: ids without a text, ids that a line of tabs cannot hold, a file of other triples, scores that are
        not finite.
    """
    out, names = Path(out), [tuple(triple) for triple in triples]
    known("queries", (query for query, _, _ in names), queries)
    known("passages", (passage for _, *pair in names for passage in pair), passages)
    if bad := next((name for triple in names for name in triple if set(name) & set("\t\r\n")), None):
        raise InputError(f"the id {bad!r} has a tab or a line break in it")
    done = _done(out, names)
    with out.open("a", encoding="utf-8", newline="\n") as file:
        waiting = iter(names[done:])
        while block := list(islice(waiting, batch_size)):
            pairs = [(queries[query], passages[passage]) for query, *both in block for passage in both]
            said = np.asarray(teacher(pairs), np.float64).reshape(-1)
            if len(said) != len(pairs) or not np.isfinite(said).all():
                raise InputError(f"need one finite score for each of {len(pairs)} pairs; the teacher gave {said[:4]} …")
            for scores, ids in zip(said.reshape(-1, 2).tolist(), block, strict=True):
                file.write("\t".join([*map(repr, scores), *ids]) + "\n")
            file.flush()
    return read_scores(out)


def mean_of_teachers(*tables: pa.Table) -> pa.Table:
    """The mean of the raw scores of several teachers of the same triples (the paper's T2).

    Warns when one teacher's margins spread more than three times as far as another's: the mean is then that one's.

    Raises: InputError: no table, or tables of different triples.

    >>> rows = {"query": ["q"], "positive": ["a"], "negative": ["b"]}
    >>> tables = [pa.table({"positive_score": [p], "negative_score": [n], **rows}) for p, n in ((4.0, 1.0), (2.0, 1.0))]
    >>> score_matrix(mean_of_teachers(*tables)).tolist()
    [[3.0, 1.0]]
    """
    names = list(IDS)
    if not tables or any(not table.select(names).equals(tables[0].select(names)) for table in tables):
        raise InputError("a mean needs tables of the same triples in the same order")
    scores = np.stack([score_matrix(table) for table in tables])
    spread = (scores[..., 0] - scores[..., 1]).std(axis=1)
    if spread.max() > 3 * spread.min():
        warnings.warn(f"the teachers' margins have standard deviations {spread.round(2).tolist()}", stacklevel=2)
    mean = scores.mean(axis=0)
    return pa.table([mean[:, 0], mean[:, 1], *(tables[0][name] for name in IDS)], names=[*SCORES, *IDS])


def score_matrix(table: pa.Table) -> np.ndarray:
    """The scores [N, 2], positive first."""
    return np.stack([table[name].to_numpy() for name in SCORES], axis=1)


def known(what: str, ids: Iterable[str], there: Mapping[str, object]) -> None:
    """Raise InputError when ids are not there: how many, and the first five."""
    missing = sorted(set(ids) - there.keys())
    if missing:
        raise InputError(f"{len(missing)} ids are not among the {what}: {', '.join(missing[:5])}")


def _done(out: Path, names: Sequence[tuple[str, ...]]) -> int:
    """How many triples `out` has; a last line that was cut off is taken out. They must be the first of `names`."""
    if not out.exists():
        return 0
    held = out.read_bytes()
    whole = held[: held.rfind(b"\n") + 1]
    if whole != held:
        out.write_bytes(whole)
    found = [tuple(line.split("\t")[2:]) for line in whole.decode().split("\n")[:-1]]
    if found != list(names[: len(found)]):
        raise InputError(f"{out} holds scores of other triples; give another file")
    return len(found)
