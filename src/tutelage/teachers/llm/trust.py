"""Which hosts this user has sent a key to before.

A run folder holds the address of its endpoint, and a run folder can come from somebody else. So a key goes only to hosts
that the user named: api.openai.com, an address on this command line, or one that stands in a file of the user's own
(`$XDG_CONFIG_HOME/tutelage/hosts.json`, mode 0600). Anything else is a question to ask first; the command line asks it.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

from tutelage.errors import InputError

_ALWAYS = "https://api.openai.com:443"


def hosts_file() -> Path:
    """Where the hosts are kept."""
    config = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(config) / "tutelage" / "hosts.json"


def origin(base_url: str) -> str:
    """Scheme, host and port of an address: what is trusted or not.

    >>> origin("https://API.example.org/v1"), origin("http://localhost:8000/v1")
    ('https://api.example.org:443', 'http://localhost:8000')

    Raises: InputError: it is no http(s) address.
    """
    try:
        parts = urlsplit(base_url)
        port = parts.port or {"https": 443, "http": 80}.get(parts.scheme)
    except ValueError:
        parts, port = urlsplit(""), None
    if not parts.hostname or port is None:
        raise InputError(f"not an http(s) address: {base_url!r}")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}:{port}"


def is_trusted(base_url: str) -> bool:
    """Whether this user has sent a key to that host before (or it is api.openai.com, over https)."""
    wanted = origin(base_url)
    return wanted == _ALWAYS or wanted in _hosts()


def trust(base_url: str) -> None:
    """Note that the user sends a key to that host.

    Raises: InputError: the file cannot be written.
    """
    wanted = origin(base_url)
    hosts = _hosts()
    if wanted == _ALWAYS or wanted in hosts:
        return
    path = hosts_file()
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=".hosts")  # mode 0600
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            json.dump(sorted({*hosts, wanted}), stream, indent=1)
        Path(name).replace(path)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from None


def _hosts() -> set[str]:
    """The noted hosts; none where the file is missing, damaged, or writable by others."""
    path = hosts_file()
    with contextlib.suppress(OSError, ValueError):
        status = path.stat()
        if status.st_uid == os.getuid() and not status.st_mode & 0o022:
            content = json.loads(path.read_text(encoding="utf-8"))
            return {host for host in content if isinstance(host, str)} if isinstance(content, list) else set()
    return set()
