"""Where positions enter a model, found by structure: the only room that follows transformers.

A position is told by its past: token ids are the ids the user passed; position numbers come from `arange`, `cumsum`, a buffer that
counts; a rotation is the `cos` or `sin` of something, or a pair of buffers on the unit circle; a table is looked up by position
numbers, or is a parameter as long as the sequence; a relative bias is made from a table or parameter and added to attention
scores; ALiBi is arithmetic on position numbers added there; relative embeddings are a table, in which no token is looked up, that
meets queries or keys in a product.  A sink is made at the place where such a constant meets a carrier (`sinks.py`): one of its own
in each layer, expanded to the rows of the batch, sharing memory with the model's tensor and never handed back to the model.
"""
