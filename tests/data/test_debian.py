"""Debian's packages: texts without the package's name, a split that keeps sources together."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tutelage.data.debian import FILE, debian_packages, without
from tutelage.errors import InputError

ROWS = {
    "name": ["tar", "tar-doc", "empty"],
    "source": ["tar", "tar", "empty"],
    "section": ["utils", "doc", "misc"],
    "synopsis": ["GNU tar archiver", "documentation of tar-doc", "nothing"],
    "description": ["Tar packs files. . It unpacks them; use tar.", "How tar works.", ""],
}


def test_texts_lose_the_name_and_the_paragraph_marks(tmp_path: Path) -> None:
    pq.write_table(pa.table({**ROWS, "version": ["1", "2", "3"]}), tmp_path / FILE)
    table = debian_packages(tmp_path / FILE)
    assert table["id"].to_pylist() == ["tar", "tar-doc"], "a package without a description is left out"
    assert table["synopsis"].to_pylist() == ["GNU archiver", "documentation of"]
    assert table["description"].to_pylist() == ["packs files. It unpacks them; use .", "How tar works."]
    assert len(set(table["split"].to_pylist())) == 1, "packages of one source are never torn apart"


def test_a_part_is_the_same_for_a_seed(tmp_path: Path) -> None:
    names = [f"p{n}" for n in range(20)]
    columns = {name: [f"{name} {n}" for n in range(20)] for name in ("source", "section", "synopsis", "description")}
    pq.write_table(pa.table({"name": names, **columns}), tmp_path / FILE)
    one, again, other = (debian_packages(tmp_path / FILE, limit=5, seed=seed)["id"].to_pylist() for seed in (0, 0, 1))
    assert len(one) == 5
    assert one == again != other


def test_names_with_signs_are_words_too() -> None:
    assert without("use G++ and g++-12, not ++g", "g++") == "use and -12, not ++g"


def test_refusals(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read packages"):
        debian_packages(tmp_path / "none.parquet")
    pq.write_table(pa.table({"name": ["a"]}), tmp_path / "few.parquet")
    with pytest.raises(InputError, match=r"lacks the columns description, section, source, synopsis"):
        debian_packages(tmp_path / "few.parquet")


@pytest.mark.skipif("TUTELAGE_DATA" not in os.environ, reason="needs the data folder")
def test_the_real_file() -> None:
    table = debian_packages(Path(os.environ["TUTELAGE_DATA"]) / FILE)
    assert table.num_rows > 30_000
    parts = dict(zip(table["source"].to_pylist(), table["split"].to_pylist(), strict=True))
    assert [parts[s] for s in table["source"].to_pylist()] == table["split"].to_pylist()
