"""Benchmarks are commands: `python -m pelrp_nb bench engine|texts|stream|memory|targets|batch|views|calls|gpu|faithfulness` measure."""

from .calls import calls
from .engine import engine
from .gpu import gpu
from .memory import memory
from .rows import batch, targets
from .stream import stream
from .texts import texts
from .views import views

ALL = {
    "engine": engine, "texts": texts, "stream": stream, "memory": memory, "targets": targets, "batch": batch, "views": views,
    "calls": calls, "gpu": gpu,
}  # fmt: skip
__all__ = ["ALL", "batch", "calls", "engine", "gpu", "memory", "stream", "targets", "texts", "views"]
