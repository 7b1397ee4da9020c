"""Random small transformers out of supported operations, each written in two ways and once by hand (`python tests/random_models.py`).

`design`   what is computed, and how it is spelt: two plain values that hypothesis draws
`model`    a design as a module, over operations that somebody else spells
`spelt`    those operations as people write them
`by_hand`  the same operations with their gradients bent by hand, no engine near
`check`    what must hold of an explanation
"""
