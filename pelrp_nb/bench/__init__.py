"""Benchmarks are commands: `python -m pelrp_nb bench engine|memory|targets|batch|views|faithfulness` measure and print ratios."""

from .engine import engine
from .memory import memory
from .rows import batch, targets
from .views import views

ALL = {"engine": engine, "memory": memory, "targets": targets, "batch": batch, "views": views}
__all__ = ["ALL", "batch", "engine", "memory", "targets", "views"]
