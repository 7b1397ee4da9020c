"""Every error of ours says three things: what must hold, what came, what to type."""

from __future__ import annotations

import sys
from collections.abc import Callable


class PelrpError(Exception):
    """Anything pelrp_nb refuses; catch this one to catch them all.

    A note below the traceback names its page in the documentation, which says what happened, why, and what to type.
    """

    def __init__(self, *said: object) -> None:
        super().__init__(*said)
        page = next(kind.__name__ for kind in type(self).__mro__ if kind.__module__ == __name__)
        self.add_note(f"In the documentation: errors/{page}")


class InputError(PelrpError, ValueError):
    """What the user passed cannot be explained as it is."""


class CallError(InputError, TypeError):
    """The arguments do not fit the function that was called."""


class RowError(InputError, IndexError):
    """There are fewer results than that."""


class PartError(InputError, KeyError):
    """A result has no part of that name."""

    __str__ = Exception.__str__  # a KeyError would put its words in quotes


class MissingError(InputError, ImportError):
    """A package of an extra is not installed."""


class TargetError(InputError):
    """The target names something the model does not have."""


class ModelError(PelrpError, ValueError):
    """The model is in a state, or of a kind, that hides its operations."""


class RuleError(PelrpError, NotImplementedError):
    """An operation has no rule: its relevance would be a plain gradient, which conserves nothing."""


class FileError(PelrpError, ValueError):
    """A file is damaged, or is not one of ours."""


class ZooError(PelrpError, ValueError):
    """The zoo has no such model or task, or its files are damaged."""


def exit_code(main: Callable[[], int]) -> int:
    """What a command returns; 2, with one line on standard error, where it says what the user can mend."""
    try:
        return main()
    except (PelrpError, OSError) as error:
        print(f"pelrp_nb: {error}", file=sys.stderr)
        return 2
