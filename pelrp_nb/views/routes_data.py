"""What the views of routes draw, as plain data."""

from __future__ import annotations

from typing import TypedDict

import numpy as np


class Sparse(TypedDict):
    """Some entries of a matrix (Tq, Tk): at[n] = row * Tk + column, in rising order; amount[n] stands there."""

    at: np.ndarray
    amount: np.ndarray


class PlainNode(TypedDict):
    """A residual sum at each place: relevance = skip + branch."""

    relevance: list[float]
    skip: list[float]
    branch: list[float]


class PlainLevel(TypedDict):
    """One attention, or several that are taken together; the lists have a number for each place.

    given, received:        all edges out of a place, and into it, those that were not kept included
    query, positions, kept: what stayed as the query's part of scores, went to positions, stayed with the softmax
    size:                   of all its edges, by their sizes; edges: the largest
    """

    name: str
    attentions: list[str]
    given: list[float]
    received: list[float]
    query: list[float]
    positions: list[float]
    kept: list[float]
    node: PlainNode | None
    size: float
    edges: Sparse


class PlainHead(TypedDict):
    """A head: its relevance, what it handed on with sign and by size, the pattern that it looks like with its part, its largest edges."""

    attention: str
    level: int
    head: int
    relevance: float
    handed: float
    size: float
    looks: str
    part: float
    edges: Sparse


class PlainGroup(TypedDict):
    """Attentions between the same places: `tokens` hand on, `others` receive.

    own: whether these are the same places, so that levels lie above each other, the first nearest to the words
    """

    stream: str
    of: str
    own: bool
    tokens: list[str]
    others: list[str]
    levels: list[PlainLevel]
    heads: list[PlainHead]


class PlainRoutes(TypedDict):
    """Routes without tensors; about: model, method and state of the ledger, in words."""

    target: str
    value: float
    about: str
    notes: list[str]
    groups: list[PlainGroup]
