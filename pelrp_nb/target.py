"""What to explain, by its public name: see `targets/target.py`, `targets/computed.py` and `targets/loss.py`."""

from .targets.computed import Answer, Entropy, Logprob, Margin, Probability, Word, answer, entropy, logprob, margin, probability
from .targets.logits import Chosen, logits_of, place
from .targets.loss import Loss, loss
from .targets.neurons import Neuron, neuron
from .targets.places import Span
from .targets.target import (
    Each, Every, Generated, Label, Read, Similar, Token, choose, each, every, generated, label, read, similar, span, token,
)  # fmt: skip

__all__ = [
    "Answer", "Chosen", "Each", "Entropy", "Every", "Generated", "Label", "Logprob", "Loss", "Margin", "Neuron", "Probability", "Read",
    "Similar", "Span", "Token", "Word", "answer", "choose", "each", "entropy", "every", "generated", "label", "logits_of", "logprob",
    "loss", "margin", "neuron", "place", "probability", "read", "similar", "span", "token",
]  # fmt: skip
