"""What a user can get wrong, and how the command line ends for it.

Every error that a user can cause is a `TutelageError`: one line that says what is wrong, where, and what to do.
The command line prints that line and ends with the error's exit code; anything else is a bug and shows its traceback.

| code | meaning |
|---|---|
| 0 | done |
| 1 | a bug: traceback |
| 2 | bad input: file, option, scheme, key, missing extra |
| 3 | paused: the run is whole and resumes with the same command (budget spent, endpoint down) |
| 4 | refused: people disagree with the teacher too much to distil from it |
| 130 | interrupted by Ctrl-C; a run resumes |
| 141 | the reader of our output has gone (a broken pipe) |
"""

from __future__ import annotations


class TutelageError(Exception):
    """Base of every error that a user can cause and mend."""

    exit_code = 2


class InputError(TutelageError, ValueError):
    """A file, option, scheme or argument is wrong."""


class MissingExtra(TutelageError, ImportError):
    """An optional dependency is not installed."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs an extra that is not installed: pip install 'tutelage[{extra}]'")
        self.extra = extra


class Paused(TutelageError):
    """The run stopped with everything kept: the same command goes on from here."""

    exit_code = 3


class Interrupted(TutelageError):
    """Ctrl-C, where there is more to say than that a run resumes."""

    exit_code = 130


class Refused(TutelageError):
    """The teacher's agreement with people is below the acceptance rule."""

    exit_code = 4
