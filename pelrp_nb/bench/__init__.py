"""Benchmarks are commands: `python -m pelrp_nb bench engine|texts|memory|targets|batch|views|calls|faithfulness` measure and print."""

from .calls import calls
from .engine import engine
from .memory import memory
from .rows import batch, targets
from .texts import texts
from .views import views

ALL = {"engine": engine, "texts": texts, "memory": memory, "targets": targets, "batch": batch, "views": views, "calls": calls}
__all__ = ["ALL", "batch", "calls", "engine", "memory", "targets", "texts", "views"]
