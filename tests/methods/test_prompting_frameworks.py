"""The card says what a probe saw, in the survey's columns."""

from __future__ import annotations

from tutelage.methods.labelling.prompting_frameworks import COLUMNS, SURVEY, FrameworkCard


def test_the_card_has_a_mark_with_evidence_in_every_column():
    card = FrameworkCard.probe()
    assert tuple(card.found) == COLUMNS
    assert {column for column, probed in card.found.items() if probed.mark == "✓"} == {
        "beyond token limit",
        "faster reasoning",
        "refining to criteria",
        "output content",
        "output structure",
        "fewer invocations",
        "fewer tokens",
    }
    assert all(probed.evidence for probed in card.found.values())


def test_the_card_prints_beside_the_survey():
    lines = FrameworkCard.probe().to_markdown().splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert len(table) == 3 + len(SURVEY)
    assert {line.count("|") for line in table} == {2 + len(COLUMNS)}
    assert all(len(marks) == len(COLUMNS) for marks in SURVEY.values())
