"""What is explained: one number of the model's output, named the way a person would name it.

None                           the highest logit
3, "positive", "Lily"          a class or token id, a label, a token
token("Lily", at=-1)           a token at a place of the sequence, a number or the token that stands there: at="[MASK]"
label("positive", at=4)        a label, of a token classifier at a place
at=span("fox")                 the tokens of that text as places, added up
"Lily was"                     a word of several tokens: each where it is predicted after those before, added up
logprob, probability("Lily")   of a token, a label or a word of several tokens (`targets/computed.py`, `targets/loss.py`), and
loss(labels), entropy(), margin(), answer()   of the model, of a place, of the two best, of a question answering head
neuron("layer 3", 5, at=4)     a neuron of a layer's MLP
similar("another text")        how alike the text's embedding is to another's (cosine)
generated(20)                  each of the next 20 tokens that the model writes
read(first=1)                  each token that stands in the text, where it is predicted
each(["positive", "negative"]) one target per input
every(["positive", 0])         several targets of one input, from one forward pass; every(logits.topk(5).indices)
lambda output: ...             a scalar of the model's output

Where no place is said it is the last of a model that writes, the one [MASK] of a model that fills it; a contrast stands where its
target stands, and one that is typed alone ("Tom", 3) is of its target's kind.  Every target that is a logit starts with
R(logit) = logit; a logprob, a loss, a probability or an entropy goes through a softmax, whose line in the ledger is large.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor

from ..errors import PelrpError, TargetError
from ..inputs.outputs import tensors_in
from .given import came, listed, whole
from .labels import known_id, label_number, token_number, token_text
from .logits import Chosen, Names, Part, found_at
from .places import Span, Spread

Named = "int | str | Callable[[Any], Tensor] | Token | Label | None"


@dataclass(frozen=True)
class Token:
    """The logit of a token; `at` counts places of the sequence, -1 is the last, or names the one token that stands there."""

    text: Any
    at: Any = None


@dataclass(frozen=True)
class Label:
    """The logit of a label; `at` for models that label each token."""

    text: Any
    at: Any = None


class Computed:
    """A number that is made of the output: a base of those in `computed.py` and `loss.py`."""

    def chosen(self, output: Any, model: Any, processor: Any, tokens: Sequence[str]) -> Chosen:
        """The number, found in the output of one input."""
        raise NotImplementedError

    def instead(self, text: Any, at: int | Spread | None) -> Any:
        """The same asked of another token or label, which is typed alone as a contrast. Raises TargetError where it has no meaning."""
        name = type(self).__name__.lower()
        raise TargetError(
            f"A contrast is of the same kind as its target, target.{name}(...), and {text!r} alone is a logit. "
            f"Type contrast=target.{name}(...), or contrast=target.token({text!r}) for that logit."
        )


@dataclass(frozen=True)
class Similar:
    """Cosine of the text's embedding with that of another text, which is taken as given."""

    text: str
    pooling: Literal["mean", "first", "last", "pooler", "max"] | None = None


@dataclass(frozen=True)
class Generated:
    """Each of the next `count` tokens that the model writes; `options` of `generate`, `seed` of what is drawn."""

    count: int
    options: tuple[tuple[str, Any], ...] = ()
    seed: int | None = None


@dataclass(frozen=True)
class Read:
    """Each token of the text from place `first` on, where it is predicted."""

    first: int = 1


@dataclass(frozen=True)
class Each:
    """One target per input."""

    targets: tuple[Any, ...]


@dataclass(frozen=True)
class Every:
    """Several targets of one input, from one forward pass."""

    targets: tuple[Any, ...]


def token(text: str | int | Tensor | None, at: int | str | Span | None = None) -> Token:
    """The logit of one token of the vocabulary, as text or id, at a place of the sequence (its number, the token there, a span).

    None is the last place of a model that writes, and the one [MASK] of a model that fills it.
    """
    return Token(text, at)


def label(text: str | int | Tensor | None, at: int | str | Span | None = None) -> Label:
    """The logit of a label, as text or class number; of a token classifier at a place."""
    return Label(text, at)


def similar(text: str, pooling: Literal["mean", "first", "last", "pooler", "max"] | None = None) -> Similar:
    """How alike the embeddings of the explained text and of `text` are: the cosine, between -1 and 1.

    `pooling` makes one vector of the tokens' vectors: "mean", "max", "first" (CLS), "last", or the model's own "pooler".  None
    reads it from the model's folder (sentence-transformers' 1_Pooling), and is the mean where there is none.
    """
    return Similar(text, pooling)


def generated(count: int, *, seed: int | None = None, **options: Any) -> Generated:
    """Each new token of a continuation of at most `count` tokens: an explanation per token.

        generated(20)                                       the likeliest token at each step
        generated(20, temperature=0.8, top_p=0.9, seed=1)   drawn; the same seed draws the same
        generated(20, num_beams=4)                          the best of four beams

    options: those of transformers' `generate` (temperature, top_k, top_p, min_p, num_beams, repetition_penalty ...).

    All are explained from ONE forward pass over text and continuation.  The explanation of a token covers what its prediction
    could see, the text and the continuation before it, and equals the explanation of that prefix alone.
    """
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise TargetError(f"There must be at least one new token, got {count!r}. Type target.generated(20).")
    if seed is not None and (isinstance(seed, bool) or not isinstance(seed, int)):
        raise TargetError(f"seed must be a whole number, got {seed!r}. Type target.generated({count}, temperature=0.8, seed=1).")
    taken = next((name for name in ("max_new_tokens", "max_length", "num_return_sequences", "input_ids") if name in options), None)
    if taken is not None:
        raise TargetError(f"`{taken}` is not to choose here: one continuation of at most {count} tokens is written. Leave it out.")
    return Generated(count, tuple(sorted(options.items())), seed)


def read(first: int = 1) -> Read:
    """Each token of the given text from place `first` on, at the place that predicts it: one explanation each, as `generated`."""
    if isinstance(first, bool) or not isinstance(first, int) or first < 1:
        raise TargetError(f"The first token to predict must have one before it: at least 1, got {first!r}. Type target.read().")
    return Read(first)


def each(targets: Sequence[Any]) -> Each:
    """One target per input, in order."""
    return Each(listed(targets, "each"))


def every(targets: Sequence[Any]) -> Every:
    """Several targets of the same input: one forward pass, one backward pass for each. Ids may be a tensor or an array."""
    found = listed(targets, "every")
    if not found:
        raise TargetError("target.every needs at least one target, got none. Type target.every([0, 1]).")
    return Every(found)


def span(text: str) -> Span:
    """The tokens of a piece of the text as places, for `at=`: what is asked there is added up.

        explain(model, "the quick brown fox", processor=tokenizer, target=target.token("dog", at=target.span("brown fox")))

    As a target by itself: the tokens that stand there, each where a model that writes predicts it, added up.
    """
    return Span(text)


def choose(target: Any, output: Any, model: Any, processor: Any, tokens: Sequence[str] = ()) -> Chosen:
    """The scalar that `target` names in `output` of one input, without padding; `tokens` are those that the logits belong to.

    Raises TargetError if the model has no such label, token or place.
    """

    def logit(row: Tensor, names: Names, model: Any, processor: Any) -> Part:
        number, text = number_of(target, row, names, processor)
        return row[number], text, number

    if isinstance(target, Computed):
        return target.chosen(output, model, processor, tokens)
    if callable(target) and not isinstance(target, Token | Label):
        return _scalar(asked_of(target, output), target)
    return found_at(target, output, model, processor, tokens, logit)


def alike(target: Any, text: Any, at: int | Spread | None) -> Any:
    """A token or label that is typed alone, asked as `target` is, at its place."""
    if isinstance(target, Computed):
        return target.instead(text, at)
    return Token(text, at) if isinstance(target, Token) else Label(text, at)


def number_of(target: Any, row: Tensor, names: Names, processor: Any) -> tuple[int, str]:
    """The class or token number of a target, and its text."""
    wanted = whole(getattr(target, "text", target))
    if wanted is None:
        number = int(row.detach().argmax())
    elif isinstance(wanted, bool) or not isinstance(wanted, int | str):
        raise TargetError(
            f"A target must be a whole number, a text or a function of the output, got {came(wanted)}. "
            'Type target=1, target="positive" or target=lambda output: output.logits[0, 1].'
        )
    elif isinstance(wanted, int):
        number = wanted
        if not 0 <= number < row.shape[-1]:
            what = "class" if names else "token id, or class,"
            raise TargetError(f"The {what} must lie between 0 and {row.shape[-1] - 1}, got {number}. Type one of these.")
        known_id(number, processor, names, row.shape[-1])
    elif names and not isinstance(target, Token):
        number = label_number(wanted, names)
    else:
        number = token_number(wanted, processor, row.shape[-1])
    return number, names[number] if names else token_text(number, processor)


def asked_of(target: Callable, output: Any) -> Any:
    """What a function of the user's makes of an output. Raises TargetError with its own words where it raises."""
    try:
        return target(output)
    except PelrpError:
        raise
    except Exception as error:
        held = ", ".join(f"{path} {tuple(x.shape)}" for path, x in list(tensors_in(output))[:4])
        raise TargetError(
            f"The target function raises {type(error).__name__}: {error}. It is given the model's output, a {type(output).__name__} with "
            f"{held}. Type target=lambda output: output.logits[0, 1]."
        ) from error


def _scalar(value: Any, target: Callable) -> Chosen:
    if not isinstance(value, Tensor) or value.numel() != 1:
        came = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
        raise TargetError(f"A target function must return one number as a tensor, got {came}. Type lambda output: output.logits[0, 1].")
    name = getattr(target, "__name__", type(target).__name__)
    return Chosen(value.reshape(()), "function" if name == "<lambda>" else name, target)
