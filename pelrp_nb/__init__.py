"""Where relevance goes in a transformer, positions included; a ledger accounts for every unit of the logit.

import pelrp_nb
model, tokenizer = pelrp_nb.zoo.load("reviews-rotary")
pelrp_nb.explain(model, "a gorgeous , witty film", processor=tokenizer)
"""

from . import live, reference, rules, target, zoo
from .composites import ATTN_LRP, AUTHORS_VISION, CP_LRP, PA_LRP, PA_LRP_RES, PA_LRP_VISION, Composite
from .doctor import doctor
from .engine.operations import register
from .engine.options import Options
from .engine.propagation import propagate
from .explain import explain
from .ledger import Ledger
from .plan import Plan, plan
from .results.aggregate import aggregate
from .results.explanation import Explanation
from .rules import check_rule
from .version import __version__ as __version__

__all__ = [
    "ATTN_LRP", "AUTHORS_VISION", "CP_LRP", "PA_LRP", "PA_LRP_RES", "PA_LRP_VISION", "Composite", "Explanation", "Ledger",
    "Options", "Plan", "aggregate", "check_rule", "doctor", "explain", "live", "plan", "propagate", "reference", "register", "rules",
    "target", "zoo",
]  # fmt: skip
