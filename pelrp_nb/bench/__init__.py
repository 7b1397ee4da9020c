"""Benchmarks are commands that measure and print: `python -m pelrp_nb bench`
`engine|texts|stream|memory|sizes|targets|batch|views|calls|exchange|routes|patch|peers|long|gpu|faithfulness`.
"""

from .calls import calls
from .engine import engine
from .exchange import exchange
from .gpu import gpu
from .long import long
from .memory import memory
from .patch_quality import patching
from .peers import peers
from .routes import routes
from .rows import batch, targets
from .sizes import sizes
from .stream import stream
from .texts import texts
from .views import views

ALL = {
    "engine": engine, "texts": texts, "stream": stream, "memory": memory, "sizes": sizes, "targets": targets, "batch": batch,
    "views": views, "calls": calls, "exchange": exchange, "routes": routes, "patch": patching, "peers": peers, "long": long, "gpu": gpu,
}  # fmt: skip
__all__ = [
    "ALL",
    "batch",
    "calls",
    "engine",
    "exchange",
    "gpu",
    "long",
    "memory",
    "patching",
    "peers",
    "routes",
    "sizes",
    "stream",
    "targets",
    "texts",
    "views",
]
