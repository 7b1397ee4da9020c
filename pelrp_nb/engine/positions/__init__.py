"""Where positions enter a model, told by what they do: a position differs from place to place, and no input made it.

A constant (a weight, a buffer, a cache, numbers from anywhere) that meets what carries relevance, in a sum, a product, in attention
scores or beside it in a join, is a position if it is indexed by place there: if it differs along an axis that holds an input's places,
or has an entry of its own for each of them.  What an operation is called, which module it is in, and how the constant was made decide
nothing but words.

    detection   what handlers ask when a constant meets a carrier: a leaf for what may be a position
    sinks       leaves and taps: where the relevance of positions ends
    constants   what is remembered of constants: the parameter they were made from, whether they were read from a table by place
    judging     when the forward pass has ended: which leaves are positions, of which input, of which kind
    values      how a kind is told by the numbers of a constant
"""
