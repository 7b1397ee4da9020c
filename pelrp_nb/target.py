"""What to explain, by its public name: see `targets/target.py` and `targets/computed.py`."""

from .targets.computed import (
    Answer, Entropy, Logprob, Loss, Margin, Probability, Word, answer, entropy, logprob, loss, margin, probability,
)  # fmt: skip
from .targets.neurons import Neuron, neuron
from .targets.places import Span
from .targets.target import (
    Chosen, Each, Every, Generated, Label, Read, Similar, Token, choose, each, every, generated, label, logits_of, place, read, similar,
    span, token,
)  # fmt: skip

__all__ = [
    "Answer", "Chosen", "Each", "Entropy", "Every", "Generated", "Label", "Logprob", "Loss", "Margin", "Neuron", "Probability", "Read",
    "Similar", "Span", "Token", "Word", "answer", "choose", "each", "entropy", "every", "generated", "label", "logits_of", "logprob",
    "loss", "margin", "neuron", "place", "probability", "read", "similar", "span", "token",
]  # fmt: skip
