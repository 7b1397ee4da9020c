"""Benchmarks are commands: `python -m pelrp_nb bench engine|texts|memory|targets|batch|views|calls|gpu|faithfulness` measure and print."""

from .calls import calls
from .engine import engine
from .gpu import gpu
from .memory import memory
from .rows import batch, targets
from .texts import texts
from .views import views

ALL = {"engine": engine, "texts": texts, "memory": memory, "targets": targets, "batch": batch, "views": views, "calls": calls, "gpu": gpu}
__all__ = ["ALL", "batch", "calls", "engine", "gpu", "memory", "targets", "texts", "views"]
