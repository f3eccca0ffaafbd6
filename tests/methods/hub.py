"""A Hugging Face checkpoint folder as small as it gets: a BERT with random weights and a tokenizer of whole words."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tutelage.training import seeded


def write_checkpoint(
    folder: Path,
    texts: Iterable[str],
    *,
    layers: int = 2,
    width: int = 8,
    heads: int = 2,
    classes: int = 0,
    seed: int = 0,
    words: int = 40,
) -> Path:
    """Write it; with `classes` it has a classification head. `words` is the size of its vocabulary."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
    from transformers import BertConfig, BertForSequenceClassification, BertModel, PreTrainedTokenizerFast

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    tokenizer = Tokenizer(models.WordLevel(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.train_from_iterator(texts, trainers.WordLevelTrainer(vocab_size=words, special_tokens=special))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    )
    config = BertConfig(
        vocab_size=words, hidden_size=width, num_hidden_layers=layers, num_attention_heads=heads,
        intermediate_size=2 * width, max_position_embeddings=64, hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0, num_labels=max(classes, 2),
    )  # fmt: skip
    with seeded(seed, "init"):
        model = BertForSequenceClassification(config) if classes else BertModel(config)
    model.save_pretrained(folder)
    fast.save_pretrained(folder)
    return folder
