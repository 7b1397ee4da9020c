"""What happens to each kind of operation: torch's own call, with the gradient that the composite's rule asks for.

Every handler takes `(flow, func, args, kwargs)`: the `Context` in force, torch's own function and how it was called, with
parameters already replaced by constants.  It returns what `func` returns, to the bit.  How torch spells the kinds is
`torch_table.py`; what the rules are is `rules/`.
"""
