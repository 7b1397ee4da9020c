"""torch function -> what it does to places: the list to read, and to add a line to."""

from __future__ import annotations

from collections.abc import Callable

from .elementwise import compared, fitting, lost, normed
from .follow import Found
from .products import addmm, attention, einsum, linear, matmul, tensordot
from .reductions import accumulated, reduced, transformed, windowed
from .selections import joined, looked_up, one_hot, shape
from .writing import written

FAMILIES: tuple[tuple[str, Callable[..., Found]], ...] = (
    ("eq ne lt gt le ge __eq__ __ne__ __lt__ __gt__ __le__ __ge__ isin not_equal greater less isnan isinf isclose greater_equal "
     "less_equal isfinite", compared),
    ("transpose permute swapaxes swapdims movedim moveaxis unbind select narrow flip fliplr flipud roll repeat tile chunk split "
     "tensor_split unfold index_select gather take_along_dim diagonal rot90 t T mT H adjoint squeeze unsqueeze repeat_interleave "
     "__getitem__ hsplit vsplit split_with_sizes unsafe_chunk unsafe_split pad constant_pad_nd view_as_complex view_as_real real imag "
     "expand expand_as broadcast_to view reshape flatten unflatten view_as ravel reshape_as atleast_1d atleast_2d masked_select take "
     "squeeze_ unsqueeze_ t_ transpose_ as_strided pixel_shuffle pixel_unshuffle channel_shuffle", shape),
    ("cat concat concatenate stack hstack vstack dstack", joined),
    ("sum mean nanmean amax amin max min maximum minimum var std var_mean std_mean norm vector_norm linalg_vector_norm logsumexp any all "
     "argmax argmin prod median nanmedian mode quantile kthvalue topk sort msort argsort count_nonzero nonzero", reduced),
    ("cumsum cumprod cummax cummin logcumsumexp", accumulated),
    ("linear", linear),
    ("layer_norm rms_norm", normed),
    ("matmul __matmul__ __rmatmul__ mm bmm mv dot inner outer ger vecdot", matmul),
    ("addmm baddbmm addmv addbmm", addmm),
    ("einsum", einsum),
    ("tensordot", tensordot),
    ("scaled_dot_product_attention", attention),
    ("embedding", looked_up),
    ("one_hot", one_hot),
    ("conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d max_pool1d max_pool2d max_pool3d avg_pool1d avg_pool2d "
     "avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d lp_pool1d lp_pool2d "
     "max_pool1d_with_indices max_pool2d_with_indices interpolate upsample", windowed),
    ("index_put_ index_put copy_ index_add_ scatter_ scatter_add_ scatter index_add index_copy index_copy_ masked_scatter "
     "masked_scatter_ scatter_add scatter_reduce scatter_reduce_", written),
    ("fft_fft fft_ifft fft_fft2 fft_ifft2 fft_fftn fft_ifftn fft_rfft fft_irfft fft_rfft2 fft_irfft2 fft_rfftn fft_irfftn fft_hfft "
     "fft_ihfft", transformed),
    ("fold grid_sample multi_dot "
     "chain_matmul bilinear kron cdist grouped_mm_fallback _grouped_mm grouped_mm", lost),
)  # fmt: skip
TABLE = {name: found for names, found in FAMILIES for name in names.split()}


def steps_of(name: str) -> Callable[..., Found]:
    """What a function of this name does; an unknown one is taken to be elementwise if it fits."""
    return TABLE.get(name, fitting)
