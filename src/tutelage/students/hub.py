"""Students on a Hugging Face hub: a student's folder is a repository as it is, and comes back through the same checks.

The address and the token are huggingface_hub's own (`HF_ENDPOINT`, `HF_TOKEN`, `hf auth login`); none is taken as an argument,
so none can end up in a shell's history. What a repository holds is checked like any folder: nothing in it is run.
"""

from __future__ import annotations

import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from tutelage.errors import InputError, MissingExtra

if TYPE_CHECKING:
    from tutelage.students.base import Student

SCHEME = "hf://"
FILES = ("*.json", "*.safetensors", "*.txt", "*.model", "README.md")
"""What is fetched of a repository; a student consists of nothing else."""
_NAME = re.compile(r"(?:[A-Za-z0-9][\w.-]*/)?[A-Za-z0-9][\w.-]*(?:@[\w./-]+)?", re.ASCII)


def push(student: Student, name: str, *, private: bool = True, card: str | None = None) -> str:
    """Write a student into a repository of the hub, made if need be: -> the address of the commit.

    Args:
        name: "owner/name". private: of a repository that is made now. card: its README.md, a model card.

    Raises: InputError: a bad name, no right to write, no connection; MissingExtra: huggingface_hub is not installed.
    """
    with TemporaryDirectory(prefix="tutelage-") as folder:
        path = student.save(Path(folder) / "student")
        return push_folder(path, name, private=private, card=card)


def push_folder(folder: Path, name: str, *, private: bool = True, card: str | None = None) -> str:
    """The same for a student that lies in a folder already; `card` replaces its README.md."""
    hub = _hub("pushing to a hub")
    checked(name)
    try:
        api = hub.HfApi()
        api.create_repo(name, private=private, exist_ok=True)
        done = api.upload_folder(
            repo_id=name, folder_path=folder, commit_message="A student made with tutelage",
            ignore_patterns=["README.md"] if card is not None else None,
        )  # fmt: skip
        if card is not None:
            done = api.upload_file(path_or_fileobj=card.encode(), path_in_repo="README.md", repo_id=name)
    except (OSError, ValueError, hub.errors.HfHubHTTPError) as error:
        raise InputError(f"cannot push the student to {name}: {_line(error)}") from None
    return str(done)


def fetched(name: str) -> Path:
    """The folder of a student of the hub, "hf://owner/name[@revision]" or without the scheme; fetched once, then cached.

    Raises: InputError: a bad name, no such repository, no connection and nothing cached; MissingExtra.
    """
    hub = _hub("a student of a hub")
    repo, _, revision = checked(name.removeprefix(SCHEME)).partition("@")
    try:
        return Path(hub.snapshot_download(repo, revision=revision or None, allow_patterns=list(FILES)))
    except (OSError, ValueError, hub.errors.HfHubHTTPError) as error:
        raise InputError(f"cannot fetch the student {repo}: {_line(error)}") from None


def _hub(what: str):
    try:
        import huggingface_hub
        import huggingface_hub.errors
    except ImportError as error:
        raise MissingExtra(what, "hub") from error
    return huggingface_hub


def checked(name: str) -> str:
    """The name of a repository. Raises: InputError: it cannot be one."""
    if not _NAME.fullmatch(name) or ".." in name:
        raise InputError(f"{name!r} is no name of a hub's repository: it looks like owner/name, or owner/name@revision")
    return name


def _line(error: Exception) -> str:
    """The first line of an error: the hub's own run over many."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
