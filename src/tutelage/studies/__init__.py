"""The evidence: one study for each method, and the harness that runs them and computes their verdicts.

A study module needs only what is exported here.

    from tutelage.studies import Arm, Metric, Paper, Part, Study, beats
"""

from tutelage.studies.results import Measured, Metric, Results
from tutelage.studies.study import Arm, Budget, NotRunnable, Paper, Part, Role, Setup, Study, Trial
from tutelage.studies.verdict import Bar, Finding, at_least, at_most, beats, exactly, judge, not_worse, reaches

__all__ = [
    "Arm",
    "Bar",
    "Budget",
    "Finding",
    "Measured",
    "Metric",
    "NotRunnable",
    "Paper",
    "Part",
    "Results",
    "Role",
    "Setup",
    "Study",
    "Trial",
    "at_least",
    "at_most",
    "beats",
    "exactly",
    "judge",
    "not_worse",
    "reaches",
]
