"""Benchmarks are commands: `python -m pelrp_nb bench engine|targets|batch` compares arms in turn and prints ratios."""

from .engine import engine
from .rows import batch, targets

ALL = {"engine": engine, "targets": targets, "batch": batch}
__all__ = ["ALL", "batch", "engine", "targets"]
