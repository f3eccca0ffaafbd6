"""A local GGUF file as a chat model that writes, under the grammar of the schema that is asked for (extra `llama`)."""

from __future__ import annotations

from typing import Any

from tutelage.teachers.llm.base import Capabilities, Choice, Reply, Request, TextFault
from tutelage.teachers.llm.local import LlamaChat


class LlamaWriter(LlamaChat):
    """Replies of a local model, greedy and one at a time.

    Args: file: a GGUF file, or "smollm2"; max_tokens: longest reply; context, threads: see `LlamaChat`.
    """

    def __init__(self, file: str, *, max_tokens: int = 1024, context: int = 8192, threads: int | None = None) -> None:
        super().__init__(file, context=context, threads=threads)
        self.description |= {"writes": max_tokens, "temperature": 0}
        self.capabilities = Capabilities()
        self.max_tokens = max_tokens

    async def complete(self, request: Request) -> Reply:
        """Ask once. Raises: TextFault: the prompt does not fit into the context."""
        prompt = sum(self.count(message["content"]) for message in request.messages)
        if prompt + 32 > self.context:
            raise TextFault("too_long", f"{prompt} tokens do not fit into {self.context}")
        form: Any = {"type": "json_object", "schema": request.schema} if request.schema else None
        model: Any = self.model
        out = model.create_chat_completion(
            [dict(message) for message in request.messages],
            temperature=0.0,
            max_tokens=min(self.max_tokens, self.context - prompt - 16),
            response_format=form,
        )
        choice, usage = out["choices"][0], out["usage"]
        text = str(choice["message"]["content"] or "")
        return Reply((Choice(text, choice["finish_reason"]),), usage["prompt_tokens"], usage["completion_tokens"])

    async def aclose(self) -> None:
        """Nothing is open."""
