"""A Ray to work on: one that is there already, or one of our own for as long as the work takes.

A Ray of our own listens on the loopback interface only, under a token made for the occasion, reports no usage to anybody,
and leaves neither processes nor files; its folder, which may hold texts for a while, is private, and what a killed process has
left of one goes with the next start. (Interface and token are read from the environment when `ray` is imported: a program that
has imported it before has chosen them itself.)
"""

from __future__ import annotations

import fcntl
import logging
import os
import secrets
import shutil
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout, suppress
from pathlib import Path
from typing import Any, TextIO, cast

from tutelage.errors import InputError, MissingExtra

_OURS = "tutelage-ray-"
_PLACE = Path("/tmp" if Path("/tmp").is_dir() else tempfile.gettempdir())  # noqa: S108 - paths of sockets have 107 characters
_OBJECT_STORE = 80 << 20  # nearly the least that Ray takes
_QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_BACKEND_LOG_LEVEL": "fatal"}
_OWN = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # a Ray for one machine, which listens on loopback (on Linux too)
    "RAY_AUTH_MODE": "token",
}


def ray_module() -> Any:
    """The module `ray` with `ray.data`, and quiet. Raises: MissingExtra: it is not installed."""
    if "ray" not in sys.modules:  # it reads the environment when it is imported
        own = {} if "RAY_ADDRESS" in os.environ else {**_OWN, "RAY_AUTH_TOKEN": secrets.token_hex(32)}
        for name, value in {**_QUIET, **own}.items():
            os.environ.setdefault(name, value)
    try:
        import ray
        import ray.data
    except ImportError:
        raise MissingExtra("predicting with --engine ray", "ray") from None
    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # what goes wrong comes as an exception too
    ray.data.DataContext.get_current().enable_progress_bars = False
    return ray


@contextmanager
def cluster(workers: int | None = None) -> Iterator[tuple[Any, int]]:
    """Ray and a number of workers: the cluster that this process is connected to, else that of RAY_ADDRESS, else our own.

    Args:
        workers: None takes every CPU there is.

    What is started or connected here ends with the block.

    Raises: MissingExtra: see `ray_module`; InputError: no cluster at RAY_ADDRESS.
    """
    ray = ray_module()
    if ray.is_initialized():
        yield ray, workers or _cpus(ray)
        return
    address = os.environ.get("RAY_ADDRESS", "local")
    knock(address)
    place = ray_folder() if address == "local" else nullcontext()
    with place as folder, redirect_stdout(cast(TextIO, _WithoutRay(sys.stdout))):
        own = {
            "num_cpus": workers, "include_dashboard": False, "object_store_memory": _OBJECT_STORE,
            "_node_ip_address": "127.0.0.1", "_temp_dir": str(folder),
        }  # fmt: skip
        try:
            try:
                with _unheard():
                    ray.init(
                        address, log_to_driver=False, configure_logging=False, logging_level=logging.CRITICAL,
                        **(own if folder else {}),
                    )  # fmt: skip
            except (ConnectionError, ValueError, RuntimeError) as error:
                reason = " ".join(str(error).split())[:300]
                raise InputError(f"cannot reach Ray at {address}: {reason}") from None
            yield ray, workers or _cpus(ray)
        finally:
            ray.shutdown()


@contextmanager
def ray_folder(place: Path = _PLACE) -> Iterator[Path]:
    """A folder in `place` for this user only, gone afterwards; those that killed processes of ours have left go as well.

    Who uses a folder holds its lock, from before it has a name that others look for.
    """
    for left in place.glob(f"{_OURS}*"):
        with suppress(OSError), _locked(left):
            shutil.rmtree(left, ignore_errors=True)
    made = Path(tempfile.mkdtemp(prefix=f".{_OURS}", dir=place))
    with _locked(made):
        folder = made.rename(place / made.name.removeprefix("."))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Raises: OSError: somebody else holds the folder's lock, or it cannot be looked into."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)


def knock(address: str) -> None:
    """Raises: InputError: nothing listens at HOST:PORT (Ray itself would try for minutes); other addresses pass."""
    host, _, port = address.rpartition(":")
    if host and port.isdecimal() and "/" not in host:
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
        except OSError as error:
            raise InputError(f"no Ray answers at RAY_ADDRESS={address}: {error.strerror or error}") from None


class _WithoutRay:
    """A stream that takes nothing from Ray's own threads: they tell on standard output what becomes of a worker that fails."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        if self._stream is None or threading.current_thread().name.startswith("ray_"):
            return len(text)
        return self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def _unheard() -> Iterator[None]:
    """Without standard error: Ray's core tells there how loud it was asked to be. Errors are exceptions all the same."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _cpus(ray: Any) -> int:
    return max(1, int(ray.cluster_resources().get("CPU", 1)))
