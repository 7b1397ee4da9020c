"""Words by the path that version 0.1 wrote into pickles: see `results/subwords.py`."""

from .results.subwords import Word

__all__ = ["Word"]
