"""Hugging Face encoders as parts of students: texts in, vectors or tokens out.

A `TextTower` is an encoder with its tokenizer: it takes plain texts (or their tokens) and returns one vector a text, so
that it fits where a `TwoTower` wants an encoder. `token_rows` makes a data set of tokenised texts for models that are
called with tokens. Model folders are data here: code in them is never run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

from tutelage.errors import InputError, MissingExtra

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Pool = Literal["cls", "mean"]


class TextTower(nn.Module):
    """A transformer encoder with its tokenizer: B texts → vectors [B, d], not normalised.

    Args:
        model: a Hugging Face encoder; towers may share one. tokenizer: the model's own.
        pool: "cls", the first token's last state; or "mean" of the real tokens' states.
        max_length: tokens kept of a text: 30 for queries and 200 for passages are usual.

    Raises: InputError: a pooling that does not exist, max_length < 2.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        pool: Pool = "cls",
        max_length: int = 200,
    ) -> None:
        super().__init__()
        if pool not in ("cls", "mean") or max_length < 2:
            raise InputError(f"pool is 'cls' or 'mean', max_length at least 2; got {pool!r} and {max_length}")
        self.model, self.tokenizer, self.pool, self.max_length = model, tokenizer, pool, max_length

    @classmethod
    def from_pretrained(cls, source: str | Path, *, pool: Pool = "cls", max_length: int = 200) -> TextTower:
        """The encoder of a folder or hub name.

        Raises: InputError: nothing there that can be loaded; MissingExtra: transformers is not installed.
        """
        try:
            from transformers import AutoModel, AutoTokenizer
        except ImportError:
            raise MissingExtra("a text tower", "encoder") from None
        try:
            tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False)
            model = AutoModel.from_pretrained(source, trust_remote_code=False, use_safetensors=True)
        except (OSError, ValueError, KeyError) as error:
            raise InputError(f"cannot load the encoder {str(source)!r}: {str(error).splitlines()[0]}") from None
        return cls(model, tokenizer, pool=pool, max_length=max_length)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write encoder and tokenizer as Hugging Face does: `from_pretrained` reads it, and so does everybody else."""
        self.model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)

    def tokens(self, texts: Sequence[str]) -> dict[str, Tensor]:
        """`input_ids`, `attention_mask` and what else the model takes, [B, n] each, padded to the longest text."""
        batch = self.tokenizer(
            list(texts), truncation=True, max_length=self.max_length, padding=True, return_tensors="pt"
        )
        return {name: value.to(self.model.device) for name, value in batch.items() if isinstance(value, Tensor)}

    def forward(self, texts: Sequence[str] | Mapping[str, Tensor]) -> Tensor:
        """B texts, or their tokens → [B, d]."""
        tokens = texts if isinstance(texts, Mapping) else self.tokens(texts)
        states = self.model(**tokens).last_hidden_state
        if self.pool == "cls":
            return states[:, 0]
        kept = tokens["attention_mask"].unsqueeze(-1).to(states.dtype)
        return (states * kept).sum(1) / kept.sum(1).clamp(min=1)


def token_rows(
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str],
    labels: Sequence[int] | None = None,
    *,
    max_length: int = 128,
) -> list[dict[str, Tensor]]:
    """N texts as a data set of N examples: the tokenizer's tensors [max_length], and `labels` where given.

    Raises: InputError: no texts, or labels of another number.
    """
    if not len(texts) or (labels is not None and len(labels) != len(texts)):
        raise InputError(
            f"need texts, and one label for each; got {len(texts)} texts and {labels and len(labels)} labels"
        )
    batch = tokenizer(list(texts), truncation=True, max_length=max_length, padding="max_length", return_tensors="pt")
    columns = {name: value for name, value in batch.items() if isinstance(value, Tensor)}
    if labels is not None:
        columns["labels"] = torch.as_tensor(labels)
    return [{name: value[row] for name, value in columns.items()} for row in range(len(texts))]
