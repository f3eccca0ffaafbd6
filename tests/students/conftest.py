"""One small task that every student can learn, and one small student of each tier."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tutelage.students import EmbeddingClassifier, EncoderClassifier, NgramClassifier, StaticClassifier, Student

SUBJECTS = {
    "sport": ["the striker scored a late goal", "the coach praised the team", "fans cheered the final match"],
    "money": ["the bank raised interest rates", "shares fell on the market", "the company reported a profit"],
    "weather": ["heavy rain and wind tomorrow", "sunny spells with light clouds", "snow expected in the north"],
}
VOCABULARY = sorted({word for texts in SUBJECTS.values() for text in texts for word in text.split()})


def bag_of_words(texts: list[str]) -> np.ndarray:
    """A sentence encoder that needs no weights: which words of the small vocabulary occur, plus a constant."""
    rows = [[float(word in text.lower().split()) for word in VOCABULARY] + [1.0] for text in texts]
    return np.array(rows, np.float32).reshape(len(texts), len(VOCABULARY) + 1)


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of a few thousand weights with a word vocabulary, made here."""
    pytest.importorskip("torch")
    tokenizers, transformers = pytest.importorskip("tokenizers"), pytest.importorskip("transformers")
    import torch

    folder = tmp_path_factory.mktemp("tiny-bert")
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *VOCABULARY]
    model = tokenizers.models.WordLevel({word: i for i, word in enumerate(names)}, unk_token="[UNK]")
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    marks = {"unk_token": "[UNK]", "pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **marks).save_pretrained(folder)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = transformers.BertConfig(
            vocab_size=len(names), hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
            max_position_embeddings=32, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
        )  # fmt: skip
        transformers.BertModel(config).save_pretrained(folder)
    return folder


@pytest.fixture(params=["ngram", "static", "embedding", "encoder"])
def make(request: pytest.FixtureRequest) -> Callable[..., Student]:
    """Makes an unfitted student of a tier; one value of C, no held-out rows, so that all rows count alike."""

    def build(**options: object) -> Student:
        match request.param:
            case "ngram":
                return NgramClassifier(**{"C": 10.0, "tol": 1e-9, **options})  # type: ignore[arg-type]
            case "static":
                return StaticClassifier(bag_of_words, **{"C": 10.0, "dims": 16, **options})  # type: ignore[arg-type]
            case "embedding":
                return EmbeddingClassifier(bag_of_words, **{"C": 10.0, **options})  # type: ignore[arg-type]
            case _:
                folder = request.getfixturevalue("tiny_encoder")
                fixed = {"epochs": 60, "lr": 0.002, "batch_size": 6, "max_length": 12, "dev_share": 0.0}
                return EncoderClassifier(folder, **{**fixed, **options})  # type: ignore[arg-type]

    build.tier = request.param  # type: ignore[attr-defined]
    return build


@pytest.fixture
def texts() -> list[str]:
    """Eighteen texts, two of each kind."""
    return [text for group in SUBJECTS.values() for text in group] * 2


@pytest.fixture
def labels() -> list[str]:
    """Their labels."""
    return [label for label, group in SUBJECTS.items() for _ in group] * 2
