"""How torch spells each kind of operation: the only file that follows torch.

`HANDLERS` maps each of torch's own functions to what happens to that kind (the files beside this one).  A function that is
not here, and that the user gave no handler (`operations.py`), is refused if it makes something that carries relevance.  Custom
operators are keyed by name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from torch import Tensor

from ..context import Handler
from ..operations import ROOMS
from . import activations, attention, chains, composed, division, linear, multi_head, norms, passthrough, products, sums

LINEAR = "linear conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d"
MULTIPLY = "mul multiply __mul__ __rmul__"
PRODUCT = "matmul __matmul__ __rmatmul__ mm bmm mv dot inner outer einsum tensordot kron cross"
CHAIN = "multi_dot chain_matmul"
DIVIDE = "div divide true_divide __div__ __truediv__ __rdiv__ __rtruediv__"
FROZEN = "rsqrt reciprocal"
POWER = "pow __pow__ sqrt square float_power"
VARIANCE = "var var_mean std_mean"
COMPARISONS = "gt ge lt le greater greater_equal less less_equal __gt__ __ge__ __lt__ __le__"
EXTREMA = "max min maximum minimum fmax fmin"
POWERS = "prod cumprod"
ADD = "add sub subtract rsub __add__ __radd__ __sub__ __rsub__"
WRITE = (
    "pad constant_pad_nd index_add index_copy index_put index_fill scatter scatter_add scatter_reduce masked_scatter copy_ index_add_ "
    "index_copy_ index_put_ index_fill_ scatter_ scatter_add_ scatter_reduce_ masked_scatter_ fill_diagonal_"
)
JOIN = "cat concat concatenate stack hstack vstack"
CAST = "to float double half bfloat16 type type_as contiguous clone cpu cuda"
DROPOUT = "dropout alpha_dropout feature_dropout dropout1d dropout2d dropout3d"
# name of the function -> name of its closed slope in rules/identity.py, if it has one
ACTIVATIONS = {
    "silu": "silu", "gelu": "gelu", "tanh": "tanh", "mish": "mish", "elu": "elu", "sigmoid": "sigmoid", "exp": "exp",
    "softplus": None, "selu": None, "celu": None, "hardswish": None, "hardsigmoid": None, "logsigmoid": None, "expm1": None,
    "erf": None, "softsign": None, "tanhshrink": None, "softshrink": None, "hardshrink": None, "hardtanh": None,
    "relu6": None, "clamp": None, "clip": None, "clamp_min": None, "clamp_max": None, "clamp_": None, "sin": None, "cos": None,
    "atan": None, "sinh": None, "arctan": None, "expit": "sigmoid", "threshold": None,
    "erfc": None, "exp2": None, "asinh": None, "arcsinh": None, "cosh": None, "sinc": None, "atanh": None, "arctanh": None, "tan": None,
    "asin": None, "acos": None,
}  # fmt: skip
# Linear, or homogeneous of degree one (max, a norm): x * gradient is already y * gradient.
PLAIN = """
view reshape view_as reshape_as flatten unflatten ravel transpose permute t swapaxes swapdims movedim moveaxis T mT H adjoint
squeeze unsqueeze expand expand_as broadcast_to repeat repeat_interleave tile split chunk tensor_split hsplit unbind
split_with_sizes __getitem__ select narrow index_select gather take take_along_dim masked_select diagonal diag diag_embed tril triu
flip roll rot90 sum nansum mean nanmean cumsum cummax cummin amax amin aminmax topk sort msort median nanmedian kthvalue quantile mode
diff block_diag hypot nll_loss
positive prelu rrelu norm vector_norm std as_strided unfold fold
interpolate upsample grid_sample pixel_shuffle pixel_unshuffle avg_pool1d avg_pool2d avg_pool3d
adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d max_pool1d max_pool2d max_pool3d adaptive_max_pool1d adaptive_max_pool2d
max_pool1d_with_indices max_pool2d_with_indices lp_pool1d lp_pool2d
fft ifft fft2 ifft2 fftn ifftn rfft rfftn irfft irfftn
real imag view_as_real view_as_complex complex conj resolve_conj resolve_neg requires_grad_ atleast_1d atleast_2d
zero_ squeeze_ unsqueeze_ t_ transpose_ trace broadcast_tensors meshgrid channel_shuffle
"""
# Not differentiable, or nothing of the model's arithmetic.
SILENT = "detach item tolist numpy is_floating_point size dim numel argmax argmin argsort __len__ __bool__ __repr__ __format__"
IN_PLACE = {
    "mul_": "mul", "__imul__": "mul", "div_": "div", "__idiv__": "div", "__itruediv__": "div", "add_": "add", "__iadd__": "add",
    "sub_": "sub", "__isub__": "sub", "masked_fill_": "masked_fill", "relu_": "relu", "sigmoid_": "sigmoid", "tanh_": "tanh",
    "exp_": "exp", "silu_": "silu", "clamp_": "clamp", "clamp_min_": "clamp_min", "clamp_max_": "clamp_max", "pow_": "pow",
    "sqrt_": "sqrt", "rsqrt_": "rsqrt", "neg_": "neg", "square_": "square", "softmax_": "softmax", "gelu_": "gelu",
    "reciprocal_": "reciprocal", "baddbmm_": "baddbmm", "addmm_": "addmm",
}  # fmt: skip
NAMED: dict[str, Handler] = {
    **{d.__name__: partial(composed.composed, definition=d) for d in composed.DEFINITIONS}, "__setitem__": sums.set_item,
    "addmm": products.addmm, "baddbmm": products.baddbmm, "normalize": division.normalize, "masked_fill": sums.masked_fill,
    "where": sums.where, "layer_norm": norms.layer_norm, "rms_norm": norms.rms_norm, "group_norm": norms.group_norm,
    "batch_norm": norms.batch_norm, "softmax": attention.softmax, "logsumexp": attention.logsumexp, "log1p": activations.log_of_more,
    **dict.fromkeys(("log", "log2", "log10"), activations.logarithm), "__rpow__": activations.exponential,
    "nan_to_num": passthrough.filled,
    "solve_triangular": division.solve, "linalg_solve_triangular": division.solve, "solve": division.solve,
    "embedding": passthrough.embedding, "scaled_dot_product_attention": attention.fused_attention,
    "multi_head_attention_forward": multi_head.multi_head,
}  # fmt: skip
OPERATORS: dict[str, Handler] = dict.fromkeys(("grouped_mm_fallback", "_grouped_mm", "grouped_mm"), passthrough.plain)


def functions(name: str) -> Iterable[Callable]:
    """Every function of torch that is spelt so; a property (`x.T`) by its getter's descriptor."""
    for room in ROOMS:
        found = getattr(room, name, None)
        if found is not None:
            yield found


def _table() -> dict[Any, Handler]:
    table: dict[Any, Handler] = {}
    families: list[tuple[str, Handler]] = [
        (PLAIN, passthrough.plain), ("relu leaky_relu abs absolute", activations.homogeneous),
        (LINEAR, linear.linear), (PRODUCT, products.product), (CHAIN, products.chain),
        (MULTIPLY, products.multiply),
        (DIVIDE, division.divide), (FROZEN, division.frozen), (POWER, activations.power),
        (VARIANCE, activations.variance), (ADD, sums.add), (JOIN, sums.join), (EXTREMA, sums.extremum), (COMPARISONS, chains.compared),
        (WRITE, sums.written), (POWERS, division.powers),
        (CAST, passthrough.cast), ("neg negative __neg__", passthrough.negative), (DROPOUT, passthrough.dropout),
        (SILENT, passthrough.silent),
    ]  # fmt: skip
    for names, handler in families:
        for name in names.split():
            table.update(dict.fromkeys(functions(name), handler))
    for name, slope in ACTIVATIONS.items():
        table.update(dict.fromkeys(functions(name), partial(activations.activation, slope=slope)))
    for name, handler in NAMED.items():
        table.update(dict.fromkeys(functions(name), handler))
    for name, other in IN_PLACE.items():
        out_of_place = getattr(Tensor, other, None) or next(iter(functions(other)))
        handler = table[out_of_place]
        for function in functions(name):
            table[function] = partial(passthrough.in_place, handler=handler, out_of_place=out_of_place)
    return table


HANDLERS = _table()


def handler_of(func: Any, own: Mapping[Any, Handler] = {}, inplace: bool = False) -> Handler | None:
    """What to do with one of torch's functions: the user's own handler, else the one here; None if it has no rule.

    inplace: it was called with `inplace=True`
    """
    try:
        found = (own.get(func) if own else None) or HANDLERS.get(func)
    except TypeError:
        return None
    if found is None and not isinstance(func, type):
        found = OPERATORS.get(str(getattr(func, "__name__", "")).split(".")[0])
    return partial(passthrough.flagged, handler=found) if inplace and found is not None else found


def spelling(func: Any) -> str:
    """The function's name as one reads it."""
    return str(getattr(func, "__name__", func)).strip("_") or str(func)
