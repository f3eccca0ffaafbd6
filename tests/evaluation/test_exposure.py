"""Canaries: exposure by hand, chance, ties, samples, and language models scored as their definition says."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from tutelage.errors import InputError
from tutelage.evaluation.privacy import (
    CHANCE,
    Canary,
    canary_exposure,
    insert_canaries,
    label_score,
    lm_score,
    make_canaries,
    number_secrets,
    oddity,
)

SECRETS = number_secrets(3)


def by_value(prefix: str, secrets: object) -> np.ndarray:
    """A model that holds larger numbers to be likelier."""
    return np.array([int(secret.replace(" ", "")) for secret in secrets], float)  # type: ignore[union-attr]


def test_exposure_is_log_space_minus_log_rank():
    canaries = [Canary("a ", "9 9 9"), Canary("b ", "9 9 8"), Canary("c ", "0 0 0")]
    found = canary_exposure(by_value, canaries, SECRETS)
    assert found.rank.tolist() == [1, 2, 1000]
    assert found.bits == pytest.approx([math.log2(1000), math.log2(500), 0.0], abs=1e-9)
    assert found.extracted == pytest.approx(1 / 3)


def test_a_model_without_knowledge_has_the_exposure_of_chance():
    rng = np.random.default_rng(0)
    canaries = make_canaries([f"n{i}" for i in range(1000)], SECRETS, seed=1)
    found = canary_exposure(lambda prefix, secrets: rng.random(len(secrets)), canaries, SECRETS)
    assert pytest.approx(1.4427, abs=1e-4) == CHANCE
    assert found.mean == pytest.approx(CHANCE, abs=0.12)


def test_ties_count_half():
    found = canary_exposure(lambda prefix, secrets: np.zeros(len(secrets)), [Canary("a ", "1 2 3")], SECRETS)
    assert found.rank.tolist() == [1 + 999 / 2]


def test_a_sample_is_scaled_to_the_space():
    sample = SECRETS[:500]  # half of the space, all of them less likely than 9 9 9
    found = canary_exposure(by_value, [Canary("a ", "9 9 9"), Canary("b ", "2 5 0")], sample, space=1000)
    assert found.space == 1000
    assert found.rank[0] == 1
    assert found.rank[1] == pytest.approx(1 + 249 * 999 / 499), "249 of the 499 others are likelier"


@pytest.mark.parametrize(
    ("canaries", "secrets", "options"),
    [
        ([], SECRETS, {}),
        ([Canary("a ", "1")], SECRETS[:99], {}),
        ([Canary("a ", "1")], SECRETS, {"space": 500}),
    ],
)
def test_an_audit_that_says_nothing_is_refused(canaries: list[Canary], secrets: list[str], options: dict[str, int]):
    with pytest.raises(InputError, match="an audit needs"):
        canary_exposure(by_value, canaries, secrets, **options)


def test_a_canary_in_the_held_out_text_is_refused():
    canary = Canary("code of ada ", "1 2 3")
    canary_exposure(by_value, [canary], SECRETS, held_out=["code of ada", "1 2 3"])
    with pytest.raises(InputError, match="reward leaking"):
        canary_exposure(by_value, [canary], SECRETS, held_out=["the code of ada 1 2 3 is"])


def test_a_score_that_is_no_score_is_refused():
    for wrong in (lambda p, s: np.full(len(s), np.nan), lambda p, s: np.zeros(3)):
        with pytest.raises(InputError, match="finite numbers"):
            canary_exposure(wrong, [Canary("a ", "1 2 3")], SECRETS)


def test_canaries_are_made_and_planted_as_asked():
    canaries = make_canaries(["ada", "bo"], SECRETS, template="pin of {name}: ", seed=3)
    assert [canary.prefix for canary in canaries] == ["pin of ada: ", "pin of bo: "]
    assert len({canary.secret for canary in canaries}) == 2
    assert canaries == make_canaries(["ada", "bo"], SECRETS, template="pin of {name}: ", seed=3)
    texts = insert_canaries(["x", "y"], canaries, [0, 3], seed=1)
    assert sorted(texts) == sorted(["x", "y", *[canaries[1].text] * 3])
    assert texts != sorted(texts) or texts != insert_canaries(["x", "y"], canaries, [0, 3], seed=2)
    for wrong in ((["a", "a"], SECRETS, "{name}"), (["a", "b"], SECRETS[:1], "{name}"), (["a"], SECRETS, "pin")):
        with pytest.raises(InputError, match="names that differ"):
            make_canaries(wrong[0], wrong[1], template=wrong[2])
    with pytest.raises(InputError, match="one count"):
        insert_canaries([], canaries, [1])
    with pytest.raises(InputError, match="2 to 6 digits"):
        number_secrets(1)


def test_a_classifier_is_scored_by_the_label_that_it_was_taught():
    def predict_proba(texts: object) -> np.ndarray:
        sure = np.array([0.9 if text.endswith("4 2 1") else 0.6 for text in texts])  # type: ignore[union-attr]
        return np.stack([1 - sure, sure], 1)

    score = label_score(predict_proba, lambda prefix: 1)
    found = canary_exposure(score, [Canary("a ", "4 2 1"), Canary("b ", "1 1 1")], SECRETS)
    assert found.rank.tolist() == [1.0, 2 + 998 / 2]


def test_oddity_finds_what_a_model_was_taught_not_to_say():
    def hushed(prefix: str, secrets: object) -> np.ndarray:
        return np.array([-5.0 if secret == "4 2 1" else -1.0 for secret in secrets])  # type: ignore[union-attr]

    canaries = [Canary("a ", "4 2 1")]
    assert canary_exposure(hushed, canaries, SECRETS).rank.tolist() == [1000.0]
    assert canary_exposure(oddity(hushed), canaries, SECRETS).rank.tolist() == [1.0]
    tied = canary_exposure(oddity(lambda prefix, secrets: np.zeros(len(secrets))), canaries, SECRETS)
    assert tied.rank.tolist() == [1 + 999 / 2], "nothing is odd where all is equal"


torch = pytest.importorskip("torch")


def bigram(size: int = 12, seed: int = 0):
    """A language model that reads one token: logits of the next are a row of a table."""
    model = torch.nn.Embedding(size, size)
    with torch.no_grad():
        model.weight.copy_(torch.randn(size, size, generator=torch.Generator().manual_seed(seed)))
    return model


def characters(text: str) -> list[int]:
    return [10, *(int(c) if c.isdigit() else 11 for c in text)]


def test_a_language_model_is_scored_by_the_tokens_of_the_secret_alone():
    model = bigram()
    secrets = ["".join(pair) for pair in itertools.product("0123", repeat=2)]
    said = lm_score(model, characters, batch_size=3)("a", secrets)
    table = model.weight.detach().log_softmax(1).numpy()
    expected = [table[11, int(s[0])] + table[int(s[0]), int(s[1])] for s in secrets]
    assert said == pytest.approx(expected, rel=1e-5)


def test_secrets_of_different_lengths_keep_their_order():
    model = bigram()
    said = lm_score(model, characters)("a", ["1", "123", "12"])
    table = model.weight.detach().log_softmax(1).numpy()
    steps = [table[11, 1], table[1, 2], table[2, 3]]
    assert said == pytest.approx([steps[0], sum(steps), sum(steps[:2])], rel=1e-5)


def test_a_tokenizer_may_join_the_end_of_the_prefix_to_the_secret():
    """ "a1" is one token: then the secret is scored from that token on."""

    def joined(text: str) -> list[int]:
        return [10, 5, *map(int, text[2:])] if text.startswith("a1") else characters(text)

    said = lm_score(bigram(), joined)("a", ["12", "22"])
    table = bigram().weight.detach().log_softmax(1).numpy()
    assert said == pytest.approx([table[10, 5] + table[5, 2], table[10, 11] + table[11, 2] + table[2, 2]], rel=1e-5)


def test_a_secret_without_a_token_before_it_is_refused():
    score = lm_score(bigram(), lambda text: [int(c) for c in text])
    with pytest.raises(InputError, match="token before its secret"):
        score("", ["1", "2"])


def test_the_audit_leaves_the_model_as_it_was():
    model = torch.nn.Sequential(bigram(), torch.nn.Dropout(0.5)).train()
    score = lm_score(model, characters)
    assert np.array_equal(score("a", ["12", "34"]), score("a", ["12", "34"]))
    assert model.training
    assert model[1].training


def test_what_was_trained_in_is_found_and_what_was_not_is_not():
    from tutelage.students.lm import GruLM
    from tutelage.training import seeded

    with seeded(0):
        model = GruLM(12, width=16)
        ids = torch.tensor([characters("a427")] * 8)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
        for _ in range(60):
            loss = torch.nn.functional.cross_entropy(model(ids)[:, :-1].flatten(0, 1), ids[:, 1:].flatten())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    secrets = number_secrets(3, separator="")
    found = canary_exposure(lm_score(model, characters), [Canary("a", "427"), Canary("a", "905")], secrets)
    assert found.bits[0] == pytest.approx(math.log2(1000))
    assert found.bits[1] < 7
