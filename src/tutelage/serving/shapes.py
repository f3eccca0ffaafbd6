"""Requests and replies: our own, OpenAI's chat completions and Hugging Face's text classification.

Whoever asks a language model for labels today can ask the student tomorrow by changing a URL. The text is what stands in the
last pair of fence marks of Tutelage's prompts, else the last user message (after `marker`, if the service has one). The
answer takes the form that was asked for: a JSON object after the request's schema, else the bare label.
"""

from __future__ import annotations

import json
import re
import time
import uuid
from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from tutelage.errors import InputError
from tutelage.serving.model import Model

_FENCED = re.compile(r"<text-([0-9a-f]{8})>\n(.*?)\n</text-\1>", re.DOTALL)


class PredictRequest(BaseModel):
    """One text or several."""

    model_config = ConfigDict(extra="forbid")

    text: str | None = Field(default=None, description="One text.")
    texts: list[str] | None = Field(default=None, description="Several texts.")
    threshold: float = Field(default=0.0, ge=0, le=1, description="Below this confidence the label is null.")
    probabilities: bool = Field(default=False, description="Give the probability of every label too.")

    @model_validator(mode="after")
    def _one_of_both(self) -> PredictRequest:
        if (self.text is None) == (self.texts is None):
            raise ValueError("give either `text` or `texts`")
        return self

    @property
    def all_texts(self) -> list[str]:
        """The texts as a list."""
        return [self.text] if self.text is not None else self.texts or []


class Prediction(BaseModel):
    """A text's label (a list where a text may have several) and the probability that it is right."""

    label: str | list[str] | None
    confidence: float
    probabilities: dict[str, float] | None = None


class PredictReply(BaseModel):
    """The predictions in the order of the texts, and the version of the student that made them."""

    predictions: list[Prediction]
    student: str


def predictions(
    model: Model, probs: np.ndarray, threshold: float = 0.0, every: bool = False
) -> list[dict[str, object]]:
    """Probabilities (N, K) as `Prediction`s."""
    names = model.labels
    if model.multi:
        given = model.given(probs)
        labels: list[object] = [[names[k] for k in np.flatnonzero(row)] for row in given]
    else:
        labels = [names[k] for k in probs.argmax(1).tolist()]
    sure = model.student.confidence(probs).tolist()
    rows: list[dict[str, object]] = [
        {"label": label if c >= threshold else None, "confidence": c} for label, c in zip(labels, sure, strict=True)
    ]
    if every:
        for row, p in zip(rows, probs.tolist(), strict=True):
            row["probabilities"] = dict(zip(names, p, strict=True))
    return rows


class ChatPart(BaseModel):
    """A piece of a message."""

    type: str
    text: str = ""


class ChatMessage(BaseModel):
    """A turn of a chat."""

    role: str
    content: str | list[ChatPart] | None = None

    def text(self) -> str:
        """The content as one string."""
        if isinstance(self.content, list):
            return "".join(part.text for part in self.content if part.type == "text")
        return self.content or ""


class ChatRequest(BaseModel):
    """What is read of an OpenAI request; sampling options are accepted and have nothing to act on."""

    model: str = "student"
    messages: Annotated[list[ChatMessage], Field(min_length=1)]
    response_format: dict[str, object] | None = None
    stream: bool = False
    n: int = Field(default=1, ge=1, le=1, description="The student has one answer.")


def document_of(messages: Sequence[ChatMessage], marker: str | None = None) -> str:
    """The text that a chat request is about.

    >>> document_of([ChatMessage(role="user", content="Label this.\\nText: A goal!")], marker="Text:")
    'A goal!'

    Raises: InputError: no user message, or the marker is not in it.
    """
    asked = [message for message in messages if message.role == "user"]
    if not asked:
        raise InputError("no message has the role user")
    content = asked[-1].text()
    fenced = _FENCED.findall(content)
    if fenced:
        return fenced[-1][1]
    if marker is None:
        return content
    _, found, text = content.rpartition(marker)
    if not found:
        raise InputError(f"the last user message has no {marker!r}, after which the text begins")
    return text.strip()


def chat_reply(request: ChatRequest, model: Model, probs: np.ndarray) -> dict[str, object]:
    """A chat completion that holds the label of the one text with probabilities (1, K).

    Raises: InputError: a stream or a form of answer that there is not.
    """
    if request.stream:
        raise InputError("this service does not stream: a label is one token of news")
    row = predictions(model, probs)[0]
    return {
        "id": f"chatcmpl-{uuid.uuid4().hex}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": f"student-{model.version}",
        "choices": [{
            "index": 0, "finish_reason": "stop", "logprobs": None,
            "message": {"role": "assistant", "content": _content(row["label"], request, model), "refusal": None},
        }],
        "usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
    }  # fmt: skip


def _content(label: object, request: ChatRequest, model: Model) -> str:
    kind = (request.response_format or {}).get("type", "text")
    if kind == "text" and not _FENCED.search(request.messages[-1].text()):
        return ", ".join(label) if isinstance(label, list) else str(label)
    key, value = "labels" if model.multi else "label", label
    if kind == "json_schema":
        key, ids = _slot(request.response_format or {}, model)
        if ids:
            value = (
                [model.labels.index(name) for name in label]
                if isinstance(label, list)
                else model.labels.index(str(label))
            )
    elif kind not in ("json_object", "text"):
        raise InputError(f"unknown response_format {kind!r}; there are text, json_object and json_schema")
    return json.dumps({key: value}, ensure_ascii=False)


def _slot(response_format: dict[str, object], model: Model) -> tuple[str, bool]:
    """The property of a JSON schema that takes the label, and whether it wants the label's number."""
    schema = response_format.get("json_schema")
    schema = schema.get("schema") if isinstance(schema, dict) else None
    properties = schema.get("properties") if isinstance(schema, dict) else None
    names = set(model.labels)
    for key, spec in properties.items() if isinstance(properties, dict) else ():
        if isinstance(spec, dict) and spec.get("type") == "array":
            spec = spec.get("items")
        values = spec.get("enum") if isinstance(spec, dict) else None
        if not isinstance(values, list):
            continue
        if all(isinstance(value, str) for value in values) and names == set(values):
            return str(key), False
        if values == list(range(len(names))):
            return str(key), True
    raise InputError(f"no property of the schema has the student's labels as its enum: {', '.join(model.labels)}")


class ClassifyParameters(BaseModel):
    """Options of Hugging Face's text classification; a score is a probability, whatever `function_to_apply` says."""

    top_k: int | None = Field(default=None, ge=1)
    function_to_apply: Literal["softmax", "sigmoid", "none"] | None = None


class ClassifyRequest(BaseModel):
    """Hugging Face's text classification: a text or several."""

    inputs: str | list[str]
    parameters: ClassifyParameters = ClassifyParameters()


def classify_reply(request: ClassifyRequest, model: Model, probs: np.ndarray) -> list[list[dict[str, object]]]:
    """A list of {label, score}, best first, for each text (a single text too, as the service of the same name does)."""
    most = request.parameters.top_k or probs.shape[1]
    order = np.argsort(-probs, axis=1, kind="stable")[:, :most]
    names = model.labels
    return [
        [{"label": names[k], "score": float(row[k])} for k in columns]
        for row, columns in zip(probs, order.tolist(), strict=True)
    ]
