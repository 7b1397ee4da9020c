"""Benchmarks are commands: `python -m pelrp_nb bench engine|targets|batch|views|faithfulness` measure and print ratios."""

from .engine import engine
from .rows import batch, targets
from .views import views

ALL = {"engine": engine, "targets": targets, "batch": batch, "views": views}
__all__ = ["ALL", "batch", "engine", "targets", "views"]
