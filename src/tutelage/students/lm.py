"""Tiny language models and their tokenizers, from scratch.

`TinyLM` is a GPT-2 of the `transformers` library at any size; `GruLM` is the recurrent model that trains in seconds
on one core. Both take token ids and return logits of the next token. Tokenizers are those of the `tokenizers`
library, trained here on the characters or words of a corpus.

Shapes: ids [B, n] (long) → logits [B, n, V]; position i predicts token i + 1.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from torch import Tensor, nn
from torch.nn import functional as F

from tutelage.errors import InputError, MissingExtra
from tutelage.training.lesson import Batch, Lesson, Progress

if TYPE_CHECKING:
    from tokenizers import Tokenizer

SPECIAL = ("<pad>", "<unk>", "<bos>", "<eos>")
"""The first four ids of every tokenizer made here."""


class TinyLM(nn.Module):
    """A GPT-2 with these sizes and random weights, without dropout: ids [B, n] → logits [B, n, V].

    Attributes: model: the Hugging Face model, for `generate` and `save_pretrained`.

    Raises: MissingExtra: transformers is not installed; InputError: heads that do not divide the width.

    >>> import torch
    >>> lm = TinyLM(vocabulary=50, width=16, depth=1, heads=2, context=8)
    >>> lm(torch.zeros(2, 5).long()).shape
    torch.Size([2, 5, 50])
    """

    def __init__(self, vocabulary: int, *, width: int, depth: int, heads: int, context: int) -> None:
        super().__init__()
        try:
            from transformers import GPT2Config, GPT2LMHeadModel
        except ImportError as error:
            raise MissingExtra("a transformer language model", "encoder") from error
        if width % heads:
            raise InputError(f"{heads} heads do not divide the width {width}")
        self.context = context
        config = GPT2Config(
            vocab_size=vocabulary, n_embd=width, n_layer=depth, n_head=heads, n_positions=context,
            resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, pad_token_id=0, bos_token_id=2, eos_token_id=3,
        )  # fmt: skip
        self.model = GPT2LMHeadModel(config)

    def forward(self, ids: Tensor, mask: Tensor | None = None) -> Tensor:
        if ids.shape[1] > self.context:
            raise InputError(f"{ids.shape[1]} tokens; the context is {self.context}")
        return self.model(input_ids=ids, attention_mask=mask).logits


class GruLM(nn.Module):
    """A recurrent language model with one table for input and output: ids [B, n] → logits [B, n, V].

    >>> import torch
    >>> GruLM(vocabulary=50, width=16)(torch.zeros(2, 5).long()).shape
    torch.Size([2, 5, 50])
    """

    def __init__(self, vocabulary: int, *, width: int, depth: int = 1) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocabulary, width)
        nn.init.normal_(self.embed.weight, std=width**-0.5)
        self.gru = nn.GRU(width, width, depth, batch_first=True)
        self.out = nn.Linear(width, vocabulary)
        self.out.weight = self.embed.weight

    def forward(self, ids: Tensor) -> Tensor:
        return self.out(self.gru(self.embed(ids))[0])


def next_token_loss(logits: Tensor, ids: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean cross-entropy of token i + 1 given the tokens up to i, over targets that `mask` keeps.

    Shapes: logits [B, n, V], ids [B, n], mask [B, n]: True where the *target* counts (a completion, no padding).

    >>> import torch
    >>> next_token_loss(torch.zeros(1, 3, 2), torch.tensor([[0, 1, 0]]))
    tensor(0.6931)
    """
    each = F.cross_entropy(logits[:, :-1].transpose(1, 2), ids[:, 1:], reduction="none")
    if mask is None:
        return each.mean()
    kept = mask[:, 1:].to(each.dtype)
    return (each * kept).sum() / kept.sum().clamp(min=1)


class NextToken(Lesson):
    """Plain training of a language model: `next_token_loss` of ids `x` [B, n], where a `mask` [B, n] says so if there is one.

    >>> import torch
    >>> lesson = NextToken(GruLM(5, width=4))
    >>> lesson.losses({"x": torch.arange(4)[None]}, Progress(0, 1))["ce"].shape
    torch.Size([])
    """

    def __init__(self, student: nn.Module) -> None:
        super().__init__()
        self.student = student

    def losses(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        return {"ce": next_token_loss(self.student(batch["x"]), batch["x"], batch.get("mask"))}


def char_tokenizer(texts: Iterable[str]) -> Tokenizer:
    """One token a character, ids by frequency, after the four special tokens.

    >>> tokenizer = char_tokenizer(["abba"])
    >>> tokenizer.encode("ab?").ids, tokenizer.decode([4, 5])
    ([4, 5, 1], 'ab')
    """
    from tokenizers import Regex, decoders, pre_tokenizers

    return _trained(texts, pre_tokenizers.Split(Regex("."), "isolated"), decoders.Fuse())


def word_tokenizer(texts: Iterable[str], size: int = 2000) -> Tokenizer:
    """Words and punctuation as tokens, digits one by one; the `size` most frequent.

    >>> word_tokenizer(["code 42"]).encode("code 24").tokens
    ['code', '2', '4']
    """
    from tokenizers import pre_tokenizers

    split = pre_tokenizers.Sequence([pre_tokenizers.Whitespace(), pre_tokenizers.Digits(individual_digits=True)])
    return _trained(texts, split, None, size)


def _trained(texts: Iterable[str], split: object, decoder: object, size: int = 100_000) -> Tokenizer:
    from tokenizers import Tokenizer, models, trainers

    tokenizer = Tokenizer(models.WordLevel(unk_token=SPECIAL[1]))  # type: ignore[call-arg]
    tokenizer.pre_tokenizer = split  # type: ignore[assignment]
    if decoder is not None:
        tokenizer.decoder = decoder  # type: ignore[assignment]
    tokenizer.train_from_iterator(texts, trainers.WordLevelTrainer(vocab_size=size, special_tokens=list(SPECIAL)))
    tokenizer.enable_padding(pad_id=0, pad_token=SPECIAL[0])
    return tokenizer
