"""Benchmarks are commands that measure and print: `python -m pelrp_nb bench`
`engine|texts|stream|memory|sizes|targets|batch|views|calls|exchange|routes|patch|gpu|faithfulness`.
"""

from .calls import calls
from .engine import engine
from .exchange import exchange
from .gpu import gpu
from .memory import memory
from .patch_quality import patching
from .routes import routes
from .rows import batch, targets
from .sizes import sizes
from .stream import stream
from .texts import texts
from .views import views

ALL = {
    "engine": engine, "texts": texts, "stream": stream, "memory": memory, "sizes": sizes, "targets": targets, "batch": batch,
    "views": views, "calls": calls, "exchange": exchange, "routes": routes, "patch": patching, "gpu": gpu,
}  # fmt: skip
__all__ = [
    "ALL",
    "batch",
    "calls",
    "engine",
    "exchange",
    "gpu",
    "memory",
    "patching",
    "routes",
    "sizes",
    "stream",
    "targets",
    "texts",
    "views",
]
