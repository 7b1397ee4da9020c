"""The result by the path that version 0.1 wrote into pickles: see `results/explanation.py`."""

from .results.explanation import Explanation
from .results.reductions import REDUCTIONS, Reduction

__all__ = ["REDUCTIONS", "Explanation", "Reduction"]
