"""Language models as teachers, in the four levels of the prompting-framework survey (Liu et al. 2023, arXiv:2311.12785).

| level | file | holds |
|---|---|---|
| data | `data.py` | prompt templates, few-shot rows, the fence around the text |
| base | `base.py`, `local.py`, `logprobs.py` | access to models: OpenAI-compatible endpoints, GGUF files, Hugging Face models |
| execute | `execute.py` | the form of the answer, parsing, repair, votes, quotes |
| service | `service.py`, `budget.py`, `batch.py` | concurrency, limits, retries, budget, circuit breaker, batch jobs |

`teacher.py` joins them: `LLMTeacher`.
"""
