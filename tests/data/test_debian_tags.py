"""Facets of Debian's tags: a label where there is exactly one."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tutelage.data.debian import FILE
from tutelage.data.debian_tags import debian_facets
from tutelage.errors import InputError

TAGS = [["role::program", "interface::graphical", "interface::x11"], ["role::program", "role::plugin"], []]
TEXTS = {
    "name": ["vim-gtk", "half", "empty"],
    "source": ["vim", "half", "empty"],
    "section": ["editors", "misc", "misc"],
    "synopsis": ["editor", "half a program", "nothing"],
    "description": ["An editor.", "Half a program, half a plugin.", ""],
}


def write(folder: Path, **columns: list) -> Path:
    pq.write_table(pa.table({**TEXTS, **columns}), folder / FILE)
    return folder / FILE


def test_a_package_has_a_label_where_it_has_one_value(tmp_path: Path) -> None:
    table = debian_facets(write(tmp_path, tags=TAGS), ["role", "interface"], without={"interface::x11"})
    assert table["id"].to_pylist() == ["vim-gtk", "half"], "rows as in debian_packages"
    assert table["role"].to_pylist() == ["program", None]
    assert table["interface"].to_pylist() == ["graphical", None], "x11 is a detail that does not count"


def test_what_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="exactly one value of the facet 'interface'"):
        debian_facets(write(tmp_path, tags=TAGS), ["role", "interface"])
    with pytest.raises(InputError, match="lacks the column tags"):
        debian_facets(write(tmp_path), ["role"])


@pytest.mark.skipif("TUTELAGE_DATA" not in os.environ, reason="needs the data folder")
def test_the_real_file_has_these_facets() -> None:
    table = debian_facets(Path(os.environ["TUTELAGE_DATA"]) / FILE, ["role", "network"], limit=3000)
    assert {"client", "server"} < set(table["network"].to_pylist())
    assert 300 < table["role"].to_pylist().count("program") < 1200
