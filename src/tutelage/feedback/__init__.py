"""How a teacher changes because of its student, and what is noticed where the two differ."""

from __future__ import annotations

from tutelage.feedback.alternation import Alternation
from tutelage.feedback.disagreement import disagreement

__all__ = ["Alternation", "disagreement"]
