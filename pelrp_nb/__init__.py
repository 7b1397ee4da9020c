"""Where relevance goes in a transformer, positions included; a ledger accounts for every unit of the logit.

import pelrp_nb
model, tokenizer = pelrp_nb.zoo.load("reviews-rotary")
pelrp_nb.explain(model, "a gorgeous , witty film", processor=tokenizer)
"""

from difflib import get_close_matches
from importlib import import_module
from typing import TYPE_CHECKING, Any

from . import rules
from .composites import ATTN_LRP, AUTHORS_VISION, CP_LRP, DELTA_LRP, PA_LRP, PA_LRP_RES, PA_LRP_VISION, Composite
from .doctor import doctor
from .engine.operations import register
from .engine.options import Options
from .engine.propagation import propagate
from .exchange import exchange
from .explain import explain
from .inputs.rows import Skipped
from .inputs.source import Source
from .ledger import Ledger
from .methods import compare_methods
from .patch import patch
from .permute import permute_positions
from .plan import Plan, plan
from .results.aggregate import aggregate
from .results.exchange import Exchange
from .results.explanation import Explanation
from .results.explanations import Explanations
from .results.patch import Patch
from .rules import check_rule
from .streaming.iterate import explain_iter
from .streaming.to_folder import explain_to
from .version import __version__ as __version__

if TYPE_CHECKING:
    from . import live, reference, target, zoo

__all__ = [
    "ATTN_LRP", "AUTHORS_VISION", "CP_LRP", "DELTA_LRP", "PA_LRP", "PA_LRP_RES", "PA_LRP_VISION", "Composite", "Exchange", "Explanation",
    "Explanations", "Ledger", "Options", "Patch", "Plan", "Skipped", "Source", "aggregate", "check_rule", "compare_methods", "doctor",
    "exchange", "explain", "explain_iter", "explain_to", "live", "patch", "permute_positions", "plan", "propagate", "reference", "register",
    "rules", "target", "zoo",
]  # fmt: skip
_WHEN_TOUCHED = (  # rooms that are loaded when they are named
    "atlas", "bench", "errors", "faithfulness", "labs", "live", "reference", "target", "views", "zoo",
)  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _WHEN_TOUCHED:
        return import_module(f".{name}", __name__)
    near = get_close_matches(name, __dir__(), 1)
    raise AttributeError(f"pelrp_nb has no {name!r}; {f'did you mean {near[0]}?' if near else 'dir(pelrp_nb) lists what it has.'}")


def __dir__() -> list[str]:
    return sorted({*__all__, *_WHEN_TOUCHED, "__version__"})
