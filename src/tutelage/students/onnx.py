"""Students as ONNX models, for runtimes without Python, and the inputs that such a model is fed with.

| tier | input | shape |
|---|---|---|
| ngram, static | `rows`: table rows of the known features, filled up with the table's length | (N, L) int64 |
| embedding | `vectors`: what the sentence encoder says | (N, d) float32 |
| encoder | `input_ids`, `attention_mask`: tokens | (N, L) int64 |

The output is `probabilities` (N, K) float32; labels stand in the model's metadata, one JSON list under `classes`.

Strings go in as hashed rows and not as strings: ONNX Runtime's string operators fold letter case by the locale of the
machine, so that they cannot give the same features everywhere (see `tutelage.students.tokens`). `inputs` makes the rows;
sums of rows are sums of integers in both, so probabilities agree to the last bits of a softmax.
"""

from __future__ import annotations

import json
import os
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from tutelage.errors import InputError, MissingExtra
from tutelage.students.base import Student
from tutelage.students.embedding import EmbeddingClassifier
from tutelage.students.encoder import EncoderClassifier
from tutelage.students.inputs import Texts, as_texts
from tutelage.students.ngram import NgramClassifier
from tutelage.students.static import StaticClassifier

if TYPE_CHECKING:
    import onnx

OPSET = 18


def export_onnx(student: Student, path: str | Path) -> Path:
    """Write a fitted student as one .onnx file.

    Raises: NotFittedError: before `fit`; InputError: a file that cannot be written; MissingExtra: onnx is not installed.
    """
    try:
        import onnx  # noqa: F401
    except ImportError:
        raise MissingExtra("ONNX export", "onnx") from None
    student._check_fitted()
    path = Path(path)
    match student:
        case NgramClassifier():
            model = _ngram(student)
        case StaticClassifier():
            model = _static(student)
        case EmbeddingClassifier():
            model = _embedding(student)
        case EncoderClassifier():
            model = _encoder(student)
        case _:
            raise InputError(f"a {type(student).__name__} has no ONNX form")
    _describe(model, student)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(model.SerializeToString())
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from None
    return path


def inputs(student: Student, texts: Texts) -> dict[str, np.ndarray]:
    """What the exported student is fed with for N texts, by input name.

    >>> student = NgramClassifier().fit(["good film", "bad film", "good book", "bad book"], ["+", "-", "+", "-"])
    >>> inputs(student, ["good, good book", ""])["rows"].shape
    (2, 4)
    """
    match student:
        case NgramClassifier():
            return {"rows": _padded(*student.rows(texts), len(student.table_))}
        case StaticClassifier():
            return {"rows": _padded(*student.rows(texts), len(student.table_.vectors))}
        case EmbeddingClassifier():
            return {"vectors": student.vectors(texts)}
        case EncoderClassifier():
            batch = student.tokens(as_texts(texts))
            return {name: tensor.numpy() for name, tensor in batch.items()}
        case _:
            raise InputError(f"a {type(student).__name__} has no ONNX form")


def _padded(rows: np.ndarray, bounds: np.ndarray, filler: int) -> np.ndarray:
    """Lists of rows as a matrix (N, L), L at least 1, filled up on the right."""
    counts = np.diff(bounds)
    matrix = np.full((len(counts), max(1, counts.max(initial=0))), filler, np.int64)
    matrix[np.arange(matrix.shape[1]) < counts[:, None]] = rows
    return matrix


class _Graph:
    """Nodes and constants of a model in the making."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, array: np.ndarray) -> str:
        """The name of a new constant."""
        from onnx import numpy_helper

        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def add(self, operator: str, *arguments: str, **attributes: Any) -> str:
        """The name of a new node's output."""
        from onnx import helper

        name = f"{operator.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(arguments), [name], **attributes))
        return name

    def probabilities(self, logits: str, multi: bool) -> None:
        """End the graph: logits -> probabilities."""
        last = self.add("Sigmoid", logits) if multi else self.add("Softmax", logits, axis=1)
        self.nodes[-1].output[0] = "probabilities"
        assert last

    def model(self, name: str, kind: int, width: int | str, classes: int) -> onnx.ModelProto:
        """The model with one input `name` (N, width)."""
        from onnx import TensorProto, helper

        graph = helper.make_graph(
            self.nodes,
            "student",
            [helper.make_tensor_value_info(name, kind, ["N", width])],
            [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", classes])],
            self.constants,
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)

    def summed_rows(self, table: np.ndarray, scale: np.ndarray) -> str:
        """`rows` (N, L) -> scale * sum of table rows (N, r) as float; the row beyond the last is zero."""
        from onnx import TensorProto

        whole = np.concatenate([table[:, : len(scale)], np.zeros((1, len(scale)), table.dtype)])
        rows = self.add("Cast", self.add("Gather", self.constant(whole), "rows", axis=0), to=TensorProto.INT32)
        total = self.add("ReduceSum", rows, self.constant(np.array([1], np.int64)), keepdims=0)
        return self.add("Mul", self.add("Cast", total, to=TensorProto.FLOAT), self.constant(scale))


def _ngram(student: NgramClassifier) -> onnx.ModelProto:
    from onnx import TensorProto

    graph = _Graph()
    sums = graph.summed_rows(student.table_, student.scale_)
    known = graph.add(
        "Cast", graph.add("Less", "rows", graph.constant(np.array(len(student.table_)))), to=TensorProto.FLOAT
    )
    count = graph.add("ReduceSum", known, graph.constant(np.array([1], np.int64)), keepdims=1)
    count = graph.add("Max", count, graph.constant(np.array(1, np.float32)))
    logits = graph.add("Div", sums, graph.add("Sqrt", count))
    if student.mix_ is not None:
        logits = graph.add("MatMul", logits, graph.constant(student.mix_))
    graph.probabilities(graph.add("Add", logits, graph.constant(student.bias_)), student.multi)
    return graph.model("rows", TensorProto.INT64, "L", len(student.bias_))


def _static(student: StaticClassifier) -> onnx.ModelProto:
    from onnx import TensorProto

    graph = _Graph()
    sums = graph.summed_rows(student.table_.vectors, student.table_.scale)
    length = graph.add("ReduceL2", sums, graph.constant(np.array([1], np.int64)), keepdims=1)
    unit = graph.add("Div", sums, graph.add("Max", length, graph.constant(np.array(1e-12, np.float32))))
    graph.probabilities(_head(graph, unit, *student.head_), student.multi)
    return graph.model("rows", TensorProto.INT64, "L", len(student.classes_))


def _embedding(student: EmbeddingClassifier) -> onnx.ModelProto:
    from onnx import TensorProto

    graph = _Graph()
    graph.probabilities(_head(graph, "vectors", *student.head_), student.multi)
    return graph.model("vectors", TensorProto.FLOAT, len(student.head_.weight), len(student.classes_))


def _head(graph: _Graph, features: str, weight: np.ndarray, bias: np.ndarray) -> str:
    return graph.add("Add", graph.add("MatMul", features, graph.constant(weight)), graph.constant(bias))


def _encoder(student: EncoderClassifier) -> onnx.ModelProto:
    """Traced by torch, with the probabilities as part of the graph."""
    import onnx
    import torch

    class Whole(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = student.model_

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            logits = self.inner(input_ids=input_ids, attention_mask=attention_mask).logits
            return logits.sigmoid() if student.multi else logits.softmax(-1)

    batch = student.tokens(as_texts(["one text", "another text that is longer"]))
    names = list(batch)
    axes: dict[str, Any] = {name: {0: "N", 1: "L"} for name in names} | {"probabilities": {0: "N"}}
    with TemporaryDirectory() as folder, torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracer warns of every shape check that it folds
        file = os.path.join(folder, "encoder.onnx")  # noqa: PTH118 - torch takes strings only
        torch.onnx.export(
            Whole().eval(), tuple(batch.values()), file, input_names=names, output_names=["probabilities"],
            dynamic_axes=axes, opset_version=OPSET, dynamo=False,
        )  # fmt: skip
        return onnx.load(file)


def _describe(model: onnx.ModelProto, student: Student) -> None:
    from onnx import helper

    model.producer_name = "tutelage"
    helper.set_model_props(model, {"tier": student.tier, "classes": json.dumps(student.classes_.tolist())})
