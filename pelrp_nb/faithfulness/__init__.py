"""Which method tells the truth: protocols, baselines, statistics, report.

from pelrp_nb import faithfulness, zoo
model, tokenizer = zoo.load("reviews-rotary")
result = faithfulness.measure(model, tokenizer, faithfulness.load("reviews", limit=20))
print(result)
"""

from .attribution import Attribution, Method
from .data import load
from .examples import Example
from .methods import ALL, METHODS
from .protocols import BETTER, PROTOCOLS
from .result import Result
from .runner import Output, measure
from .settings import AUTHORS_TEXT, OURS_IMAGES, OURS_TEXT, PAPER_IMAGES, PAPER_TEXT, Configuration
from .subject import Case, Subject

__all__ = [
    "ALL", "AUTHORS_TEXT", "Attribution", "BETTER", "Case", "Configuration", "Example", "METHODS", "Method", "OURS_IMAGES",
    "OURS_TEXT", "Output", "PAPER_IMAGES", "PAPER_TEXT", "PROTOCOLS", "Result", "Subject", "load", "measure",
]  # fmt: skip
