"""Provenance and places: which tensors depend on what the user passed, and which of their axes are whose places.

    what       an interned `Provenance`: content, mask, pair, and a place map for each axis of an input that is still told apart
    a map      a small companion (int32, size 1 wherever it is constant) that says of each element which place it is
    how        shape operations are run on the maps themselves, elementwise ones broadcast them, a contraction with weights makes an
               axis of its own, a convolution a new grid; every step is remembered by function, provenance, shapes and arguments

A constant carries nothing: caches, attributes, numpy and closures cannot matter.
"""
