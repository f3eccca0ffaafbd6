"""Words go to a network in batches of equally many tokens, and their vectors come back in the order that was asked for."""

from __future__ import annotations

import numpy as np

from tutelage.data.encoder import _SentenceTransformers


class Network:
    """Stands for a sentence-transformers model: a token a vowel, and the text's length and vowels as its vector."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []

    def tokenizer(self, texts: list[str]) -> dict[str, list[list[int]]]:
        return {"input_ids": [[0] * sum(c in "aeiou" for c in text) for text in texts]}

    def encode(self, texts: list[str], batch_size: int, **_: object) -> np.ndarray:
        self.batches += [texts[i : i + batch_size] for i in range(0, len(texts), batch_size)]
        return np.array(
            [[len(text), len(ids)] for text, ids in zip(texts, self.tokenizer(texts)["input_ids"], strict=True)]
        )


def backend() -> tuple[_SentenceTransformers, Network]:
    made, network = _SentenceTransformers.__new__(_SentenceTransformers), Network()
    made.model = network
    return made, network


def test_words_of_equally_many_tokens_share_a_batch():
    made, network = backend()
    words = [("bcdf"[: i % 4] + "aeiou"[: i % 5 + 1] + "xyzw")[:7] for i in range(256)]
    vectors = made.encode(words)
    assert vectors.tolist() == network.encode(words, 256).tolist()
    counts = [[len(ids) for ids in network.tokenizer(batch)["input_ids"]] for batch in network.batches[:-1]]
    flat = [count for batch in counts for count in batch]
    assert flat == sorted(flat)
    assert all(len(batch) <= 64 for batch in counts)


def test_texts_go_as_they_are():
    made, network = backend()
    texts = ["a" * 60, "e"]
    made.encode(texts)
    assert network.batches == [texts]
