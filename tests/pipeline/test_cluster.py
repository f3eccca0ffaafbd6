"""The folder of a Ray of our own: private, gone afterwards, and swept when its process was killed."""

from __future__ import annotations

import io
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from tutelage.pipeline.cluster import _WithoutRay, ray_folder

KILLED = """
import os, sys
from pathlib import Path
from tutelage.pipeline.cluster import ray_folder
with ray_folder(Path(sys.argv[1])) as folder:
    (folder / "spilled").write_text("a secret")
    os._exit(9)
"""


def test_it_is_private_and_ends_with_the_block(tmp_path: Path) -> None:
    with ray_folder(tmp_path) as folder:
        assert folder.stat().st_mode & 0o777 == 0o700
        (folder / "sockets").mkdir()
    with pytest.raises(KeyboardInterrupt), ray_folder(tmp_path):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_has_left_goes_and_what_is_in_use_stays(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", KILLED, tmp_path], check=False, timeout=60)
    (left,) = tmp_path.iterdir()
    assert (left / "spilled").exists()
    (tmp_path / "another").mkdir()
    with ray_folder(tmp_path) as first, ray_folder(tmp_path) as second:
        assert first != second
        assert {path.name for path in tmp_path.iterdir()} == {"another", first.name, second.name}


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "kept").touch()
    place = tmp_path / "place"
    place.mkdir()
    (place / "tutelage-ray-link").symlink_to(elsewhere)
    with ray_folder(place):
        assert (elsewhere / "kept").exists()


def test_rays_own_threads_say_nothing_on_standard_output_and_all_others_do() -> None:
    stream = io.StringIO()
    quiet: Any = _WithoutRay(stream)
    for name in ("ray_listen_error_messages", "ours"):
        thread = threading.Thread(target=lambda: print("the task failed", file=quiet), name=name)
        thread.start()
        thread.join()
    print("done", file=quiet)
    assert stream.getvalue() == "the task failed\ndone\n"
    assert _WithoutRay(None).write("nobody listens") == 14
