"""Label schemes: what is read, what is refused and how the refusal reads, what a fingerprint depends on."""

from __future__ import annotations

import hashlib
import json
import tempfile
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tutelage.data.labels import BUILT_IN, Label, LabelScheme
from tutelage.data.text import normalise
from tutelage.errors import InputError

ENTRIES = [
    {"name": "rain", "definition": "water from above", "examples": ["It pours"], "code": "01000000"},
    {"name": "sun"},
]


def write(folder: Path, name: str, content: object) -> Path:
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_all_file_formats_give_the_same_scheme(tmp_path: Path) -> None:
    expected = LabelScheme(
        name="weather",
        labels=(
            Label(name="rain", definition="water from above", examples=("It pours",), code="01000000"),
            Label(name="sun"),
        ),
    )
    table = "\ufeffName,definition,examples,code\nrain,water from above, It pours |,01000000\n\nsun\n"
    for name, content in (
        ("weather.json", ENTRIES),
        ("weather.yaml", yaml.safe_dump({"labels": ENTRIES})),
        ("weather.yml", yaml.safe_dump(ENTRIES)),
        ("weather.csv", table),
    ):
        assert LabelScheme.from_file(write(tmp_path, name, content)) == expected
    assert LabelScheme.from_dict({"name": "weather", "labels": ENTRIES}) == expected
    assert LabelScheme.load(tmp_path / "weather.csv") == expected


@pytest.mark.parametrize("name", ["a.yaml", "a.json"])
def test_a_list_of_names_is_enough(tmp_path: Path, name: str) -> None:
    assert LabelScheme.from_file(write(tmp_path, name, '["rain", "sun"]')).names == ("rain", "sun")


def test_in_a_scheme_file_everything_is_text(tmp_path: Path) -> None:
    path = write(tmp_path, "a.yaml", "version: 2\nlabels: [yes, no, 1, 2024-01-01, 1e3, ~, 'null']\n")
    with pytest.raises(InputError, match="entry 7, field name: 'null' is the name of"):
        LabelScheme.from_file(write(tmp_path, "b.yaml", "labels: [a, b, c, d, e, null, 'null']"))
    scheme = LabelScheme.from_file(path)
    assert scheme.names == ("yes", "no", "1", "2024-01-01", "1e3", "~", "null")
    assert scheme.version == "2"
    scheme = LabelScheme.from_file(
        write(tmp_path, "c.yaml", "- {name: a, code: 03000000}\n- {name: b, code:, definition: }")
    )
    assert [label.code for label in scheme.labels] == ["03000000", None]
    assert LabelScheme.from_file(write(tmp_path, "d.json", "[1, 2, 3.50]")).names == ("1", "2", "3.50")
    assert LabelScheme.from_dict([1, 2]).names == ("1", "2")


def entries(**changes: object) -> list[object]:
    return [{"name": "rain"}, {"name": "sun"}, {"name": "snow", **changes}]


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        ([], ["at least two labels", "found 0"]),
        (["rain"], ["at least two labels", "found 1"]),
        ({"name": "x"}, ["expected a mapping with `labels:`"]),
        ("just a text", ["expected a mapping"]),
        ({"labels": "rain, sun"}, ["field labels", "must be a list"]),
        ({"labels": entries(name="Rain ")}, ["labels, entry 3", "field name", "'Rain'", "labels, entry 1"]),
        ({"labels": entries(name="RAIN")}, ["labels, entry 3", "field name"]),
        ({"labels": entries(), "discard": ["sun"]}, ["discard, entry 1", "field name", "labels, entry 2"]),
        ({"labels": entries(name="  ")}, ["labels, entry 3", "field name", "empty"]),
        ({"labels": entries(name="two\nlines")}, ["labels, entry 3", "field name", "one line"]),
        ({"labels": entries(name="x" * 201)}, ["labels, entry 3", "field name", "200"]),
        ({"labels": entries(name=True)}, ["labels, entry 3", "field name", "quotation marks"]),
        ({"labels": entries(defintion="typo")}, ["labels, entry 3", "field defintion", "no such field"]),
        ({"labels": [*entries(), {"definition": "x"}]}, ["labels, entry 4", "field name", "missing"]),
        ({"labels": entries(examples="one")}, ["labels, entry 3", "field examples", "must be a list"]),
        ({"labels": entries(examples=["one", {}])}, ["labels, entry 3", "field examples, entry 2"]),
        ({"labels": [*entries(), ["nested"]]}, ["labels, entry 4", "field name"]),
        ({"labels": [*entries(), None]}, ["labels, entry 4"]),
        ({"labels": entries(), "kind": "fuzzy"}, ["field kind", "single"]),
        ({"labels": entries(), "kind": "binary"}, ["binary", "exactly two", "found 3"]),
        ({"labels": entries(), "lables": []}, ["field lables", "no such field"]),
    ],
    ids=repr,
)
def test_every_fault_is_one_line_with_file_entry_and_field(tmp_path: Path, content: object, parts: list[str]) -> None:
    path = write(tmp_path, "scheme.json", content if not isinstance(content, str) else json.dumps(content))
    with pytest.raises(InputError) as caught:
        LabelScheme.from_file(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    assert [part for part in parts if part not in message] == []
    assert "pydantic" not in message


@pytest.mark.parametrize(
    ("name", "content", "part"),
    [
        ("a.yaml", "labels: [a, b", "not valid YAML"),
        ("a.yaml", "a: b: c", "not valid YAML"),
        ("a.yaml", "", "expected a mapping"),
        ("a.yaml", "\x01", "not valid YAML"),
        ("a.yaml", "[" * 1000, "not valid YAML"),
        ("a.json", "[1,", "not valid JSON"),
        ("a.json", "[" * 100_000, "not valid JSON"),
        ("a.csv", "", "name, definition, examples, code; found nothing"),
        ("a.csv", "label;text\n", "name, definition, examples, code; found label;text"),
        ("a.csv", "name,name\na,b\n", "name, definition, examples, code; found name, name"),
        ("a.csv", "name,definition\na,one, two\nb,x\n", "entry 1 has 3 fields for 2 columns"),
        ("a.csv", "name\na\nA\n", "labels, entry 2, field name"),
        ("a.csv", "name,definition\na,x\n,y\n", "labels, entry 2, field name: must not be empty"),
        ("a.toml", "labels = []", ".toml"),
        ("labels", "a", "a file without ending"),
    ],
)
def test_files_that_cannot_be_parsed_are_one_line_too(tmp_path: Path, name: str, content: str, part: str) -> None:
    path = write(tmp_path, name, content)
    with pytest.raises(InputError) as caught:
        LabelScheme.load(path)
    assert part in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_lists_the_built_in_schemes(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"not found: iptcc .*iptc, ag-news"):
        LabelScheme.load("iptcc")
    with pytest.raises(InputError, match="cannot read"):
        LabelScheme.load(tmp_path)
    (tmp_path / "a.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="cannot read"):
        LabelScheme.load(tmp_path / "a.yaml")


def test_yaml_never_builds_objects(tmp_path: Path) -> None:
    path = write(tmp_path, "a.yaml", "labels: [!!python/object/apply:os.getcwd [], b]")
    with pytest.raises(InputError):
        LabelScheme.from_file(path)


printable = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zl", "Zp"]), max_size=12)
anything = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=12)
labels = st.builds(
    Label,
    name=printable.filter(str.strip),
    definition=anything,
    examples=st.lists(anything, max_size=2),
    code=st.none() | anything,
)
schemes = st.builds(
    LabelScheme,
    name=printable,
    version=printable,
    kind=st.sampled_from(["single", "multi", "ordinal"]),
    labels=st.lists(labels, min_size=2, max_size=4, unique_by=lambda label: normalise(label.name)),
)


@given(schemes)
def test_yaml_round_trip(scheme: LabelScheme) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scheme.yaml"
        path.write_text(scheme.to_yaml(), "utf-8")
        again = LabelScheme.from_file(path)
    assert again == scheme
    assert again.fingerprint == scheme.fingerprint


def test_the_built_in_schemes_round_trip_too(tmp_path: Path) -> None:
    for name in BUILT_IN:
        scheme = LabelScheme.load(name)
        assert LabelScheme.from_file(write(tmp_path, "x.yaml", scheme.to_yaml())) == scheme
        assert scheme.name == name


BASE = LabelScheme.from_dict(
    {"name": "a", "labels": [{"name": "x", "definition": "d", "examples": ["e"]}, {"name": "y"}]}
)


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "multi"},
        {"labels": (BASE.labels[1], BASE.labels[0])},
        {"labels": (*BASE.labels, Label(name="z"))},
        {"labels": (BASE.labels[0].model_copy(update={"name": "X"}), BASE.labels[1])},
        {"labels": (BASE.labels[0].model_copy(update={"definition": "D"}), BASE.labels[1])},
        {"labels": (BASE.labels[0].model_copy(update={"examples": ("E",)}), BASE.labels[1])},
        {"labels": (BASE.labels[0].model_copy(update={"examples": ()}), BASE.labels[1])},
    ],
    ids=repr,
)
def test_the_fingerprint_changes_with_all_that_a_teacher_sees(change: dict[str, object]) -> None:
    changed = BASE.model_copy(update=change)
    assert changed.fingerprint != BASE.fingerprint
    assert BASE.diff(changed) != []


@pytest.mark.parametrize(
    "change",
    [
        {"name": "b"},
        {"version": "9"},
        {"discard": (Label(name="not news"),)},
        {"labels": (BASE.labels[0].model_copy(update={"code": "7"}), BASE.labels[1])},
    ],
    ids=repr,
)
def test_the_fingerprint_stays_where_a_teacher_sees_no_difference(change: dict[str, object]) -> None:
    assert BASE.model_copy(update=change).fingerprint == BASE.fingerprint


def test_the_fingerprint_never_changes() -> None:
    """The ledger's rows are found by it: another value would pay for every answer again."""
    canonical = (
        '{"kind": "single", "labels": [{"definition": "d", "examples": ["e"], "name": "x"}, '
        '{"definition": "", "examples": [], "name": "y"}]}'
    )
    assert BASE.fingerprint == hashlib.sha256(canonical.encode()).hexdigest()


def test_diff_says_each_change_in_one_line() -> None:
    old = LabelScheme.from_dict([{"name": "a", "definition": "1"}, "b", "c"])
    new = LabelScheme.from_dict({"kind": "multi", "labels": ["d", "c", {"name": "a", "definition": "2"}]})
    assert old.diff(new) == [
        "added 'd'",
        "definition of 'a' changed",
        "kind changed from single to multi",
        "order of the labels changed",
        "removed 'b'",
    ]
    assert old.diff(old) == []
    assert old.diff(LabelScheme.from_dict([{"name": "a", "definition": "1"}, "c"])) == ["removed 'b'"]


def test_prompt_block_and_texts_are_one_line_a_label() -> None:
    scheme = LabelScheme.from_dict([{"name": "a", "definition": "one\n  two", "examples": ["x\ny", "z"]}, "b"])
    assert scheme.prompt_block() == "- a - one two (for example: x y; z)\n- b"
    assert scheme.prompt_block(ids=True) == "0: a - one two (for example: x y; z)\n1: b"
    assert scheme.texts() == ["a: one two", "b"]


def test_index_is_the_position_and_unknown_names_list_the_known() -> None:
    scheme = LabelScheme.load("iptc")
    assert [scheme.index(name) for name in scheme.names] == list(range(17))
    with pytest.raises(InputError, match=r"no label 'sports'; it has .*sport"):
        scheme.index("sports")


def test_warnings_name_the_labels_without_definition() -> None:
    assert BASE.warnings() == ["label 'y' has no definition; the teacher will guess what belongs under it"]
    for name in BUILT_IN:
        assert LabelScheme.load(name).warnings() == []


def test_iptc_has_the_seventeen_topics_with_their_codes_and_definitions_of_their_own() -> None:
    scheme = LabelScheme.load("iptc")
    codes = [
        "03", "08", "11", "05", "02", "04", "16", "01", "09", "17", "12", "14", "07", "06", "10", "13", "15",
    ]  # fmt: skip
    assert [label.code for label in scheme.labels] == [f"medtop:{code}000000" for code in codes]
    assert len(set(scheme.names)) == 17
    assert len({label.definition for label in scheme.labels}) == 17
    assert all(len(label.definition.split()) >= 10 for label in scheme.labels)
    assert scheme.names[0] == "disaster, accident and emergency incident"
    assert [label.name for label in scheme.discard] == ["do not know", "not news", "multiple"]
    assert not scheme.multi


def test_schemes_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        BASE.name = "other"  # type: ignore[misc]
