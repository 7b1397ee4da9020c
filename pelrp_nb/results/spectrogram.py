"""What a time line of sound is shown over: how loud each band of tones is at each time, small, as a picture."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from ..inputs.audio import NAMES

HIGH, WIDE, WINDOW = 48, 160, 400  # bands and times at most; samples of one window


def heard(tensors: Mapping[str, Tensor], places: int) -> Tensor | None:
    """The sound of one row as bytes (bands, times, 3), low tones at the bottom; None where there is none to be seen.

    Features are shown as the model was given them; of samples the loudness is computed here. `places`: what the model makes of it,
    which tells time from bands.
    """
    given = next((tensors[name] for name in NAMES if name in tensors), None)
    if given is None or not given.is_floating_point() or given.dim() not in (2, 3) or not given[0].numel():
        return None
    x = given[0].detach().float().cpu().nan_to_num(posinf=0.0, neginf=0.0)
    x = loudness(x) if x.dim() == 1 else x if time_is_last(x, places) else x.T
    x = adaptive_avg_pool2d(x[None], (min(HIGH, x.shape[0]), min(WIDE, x.shape[1])))[0].flip(0)
    low, high = x.aminmax()
    return ((x - low) / (high - low).clamp(min=1e-12) * 255).round().to(torch.uint8)[..., None].expand(-1, -1, 3).contiguous()


def loudness(samples: Tensor) -> Tensor:
    """The logarithm of the spectrum of each window, (bands, times)."""
    n = min(WINDOW, len(samples))
    window = torch.hann_window(n)
    found = torch.stft(samples, n, max(1, n // 2), window=window, center=False, return_complex=True)
    return found.abs().log1p()


def time_is_last(x: Tensor, places: int) -> bool:
    """Whether the second axis is time: the one that the model's places divide, the longer one where both or none are divided."""
    whole = [places > 0 and n >= places and n % places == 0 for n in x.shape]
    return whole[1] if whole[0] != whole[1] else x.shape[1] >= x.shape[0]
