"""SmolLM2-135M-Instruct, the small language model that ships as a package, in the forms that studies compare."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tutelage.teachers.llm.base import Capabilities, Choice, Reply, Request
from tutelage.teachers.llm.data import Message
from tutelage.teachers.llm.local import LlamaChat


class SmolLM2(LlamaChat):
    """The packaged model as one that writes, freely or under the schema's grammar, and as one that scores; counts its calls."""

    def __init__(self, *, grammar: bool = False, tokens: int = 32) -> None:
        super().__init__("smollm2", threads=1)
        self.description |= {"grammar": grammar, "tokens": tokens}
        self.capabilities = Capabilities()
        self.grammar, self.tokens, self.calls = grammar, tokens, 0

    async def complete(self, request: Request) -> Reply:
        self.calls += 1
        form = {"type": "json_object", "schema": request.schema} if self.grammar else None
        model: Any = self.model  # its own types allow streams too
        out = model.create_chat_completion(
            list(request.messages), temperature=0.0, max_tokens=self.tokens, response_format=form
        )
        choice, usage = out["choices"][0], out["usage"]
        text = str(choice["message"]["content"] or "")
        return Reply((Choice(text, choice["finish_reason"]),), usage["prompt_tokens"], usage["completion_tokens"])

    def score(self, messages: Sequence[Message], prefill: str, candidates: Sequence[str]) -> tuple[np.ndarray, int]:
        self.calls += 1
        return super().score(messages, prefill, candidates)

    async def aclose(self) -> None:
        pass
