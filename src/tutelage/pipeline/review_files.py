"""A review for other tools: tasks of Label Studio and records of Argilla, out and in, as JSON.

| | Label Studio | Argilla |
|---|---|---|
| a text | task: `data.id`, `data.text` | record: `id`, `fields.text` |
| an answer | `annotations[].result[].value.choices` | `responses.label[].value` |
| who | `result[].meta.annotator`, else `completed_by` | `user_id`: a UUID made from the name |

Files hold no answer of the teacher, so whoever reviews there is as blind as here. A code for a text that is thrown away is
one more choice. Files that these tools write themselves are read too; what was skipped or is no answer to the question
`label` is left out.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from xml.sax.saxutils import quoteattr

from tutelage.data.labels import LabelScheme
from tutelage.errors import InputError
from tutelage.pipeline.reviewing import Review, Said

_HERE = uuid.UUID("0b5cad00-7db7-4f5a-8e1c-5f5f5f5f5f5f")
"""Name space of reviewers' names."""
_QUESTION, _TEXT = "label", "text"

Answers = list[tuple[str, str, Said]]
"""Person, id or text, what they said."""


def user_id(person: str) -> str:
    """The UUID that stands for a person in Argilla's files: the same name, the same UUID."""
    return str(uuid.uuid5(_HERE, person))


def to_label_studio(review: Review) -> list[dict[str, Any]]:
    """The sample as Label Studio's tasks, with what people have said."""
    everybody = review.everybody()

    def result(person: str, said: Said) -> dict[str, Any]:
        value = {"choices": [said.discard] if said.discard else list(said.labels)}
        entry = {"from_name": _QUESTION, "to_name": _TEXT, "type": "choices", "value": value}
        return {"result": [{**entry, "meta": {"annotator": person}}], "was_cancelled": False}

    return [
        {
            "data": {"id": item.id, "text": item.text},
            "annotations": [result(person, given[item.id]) for person, given in everybody.items() if item.id in given],
        }
        for item in review.items
    ]


def label_studio_config(scheme: LabelScheme) -> str:
    """The labelling interface that the tasks want."""
    names = [label.name for label in (*scheme.labels, *scheme.discard)]
    choices = "\n".join(f"    <Choice value={quoteattr(name)}/>" for name in names)
    how = "multiple" if scheme.multi else "single"
    return (
        f'<View>\n  <Text name="{_TEXT}" value="$text"/>\n'
        f'  <Choices name="{_QUESTION}" toName="{_TEXT}" choice="{how}" showInLine="true" required="true">\n'
        f"{choices}\n  </Choices>\n</View>\n"
    )


def to_argilla(review: Review) -> list[dict[str, Any]]:
    """The sample as Argilla's records, with what people have said."""
    everybody = review.everybody()
    multi = review.scheme.multi

    def value(said: Said) -> str | list[str]:
        names = [said.discard] if said.discard else list(said.labels)
        return names if multi else names[0]

    records = []
    for item in review.items:
        given = [
            {"value": value(said[item.id]), "user_id": user_id(person)}
            for person, said in everybody.items()
            if item.id in said
        ]
        records.append({
            "id": item.id, "fields": {"text": item.text}, "metadata": {}, "suggestions": {},
            "responses": {_QUESTION: given} if given else {}, "vectors": {},
        })  # fmt: skip
    return records


def read_answers(content: bytes, review: Review) -> Answers:
    """The answers of a Label Studio or Argilla file, whichever it is.

    Raises: InputError: it is neither, or an answer is not in the scheme (with the number of the entry).
    """
    try:
        entries = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise InputError(f"the file is not JSON: {str(error)[:100]}") from None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise InputError("expected a list of Label Studio's tasks or of Argilla's records")
    people = {user_id(person): person for person in review.people}
    answers: Answers = []
    for number, entry in enumerate(entries, 1):
        try:
            if "data" in entry:
                found = _tasks(entry)
            elif "fields" in entry:
                found = _records(entry, people)
            else:
                raise InputError("it has neither `data` (Label Studio) nor `fields` (Argilla)")
            answers += [(person, key, _said(names, review.scheme)) for person, key, names in found]
        except (InputError, KeyError, TypeError, AttributeError) as error:
            why = error if isinstance(error, InputError) else f"{type(error).__name__} {error}"
            raise InputError(f"entry {number} of the file: {why}") from None
    return answers


def _tasks(task: Mapping[str, Any]) -> Iterator[tuple[str, str, Sequence[str]]]:
    key = str(task["data"].get("id") or task["data"]["text"])
    for annotation in task.get("annotations") or []:
        results = [r for r in annotation.get("result") or [] if r.get("from_name") == _QUESTION and "value" in r]
        if annotation.get("was_cancelled") or not results:
            continue
        by = annotation.get("completed_by")
        author = by.get("email") or by.get("id") if isinstance(by, dict) else by
        person = (results[0].get("meta") or {}).get("annotator") or f"label-studio-{author or 'somebody'}"
        yield str(person), key, [str(choice) for result in results for choice in result["value"].get("choices", [])]


def _records(record: Mapping[str, Any], people: dict[str, str]) -> Iterator[tuple[str, str, Sequence[str]]]:
    key = str(record.get("id") or record["fields"]["text"])
    for response in (record.get("responses") or {}).get(_QUESTION) or []:
        value = response.get("value")
        if value is None or response.get("status") in ("draft", "discarded"):
            continue
        who = str(response.get("user_id") or "somebody")
        person = people.setdefault(who, f"argilla-{who[:8]}")
        yield person, key, [str(one) for one in value] if isinstance(value, list) else [str(value)]


def _said(names: Sequence[str], scheme: LabelScheme) -> Said:
    """Names as an answer. Raises: InputError: not in the scheme."""
    thrown = [name for name in names if name in {label.name for label in scheme.discard}]
    if thrown:
        return Said((), thrown[0])
    if unknown := [name for name in names if name not in scheme.names]:
        raise InputError(f"{unknown[0][:60]!r} is not a label of {scheme.name!r}: {', '.join(scheme.names)}")
    return Said(tuple(names))
