"""What kinds of positions there ought to be, told from names alone: a second opinion on what the engine finds by structure.

The engine never looks at a model's name; this page does nothing else. A model whose parts are called rotary must have a rotary sink;
a model in which nothing is called a position must be known to have none, or it counts as open.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

# kind -> what modules, parameters and buffers of that kind are called in transformers
ANNOUNCED = {
    "rotary": re.compile(r"rotary|inv_freq|(^|[._])rope|RoPE|Rope|RotaryEmbedding"),
    "bias": re.compile(r"relative_(attention|position)|rel_pos|relative_bias|position_bias|bias_table|relpos|[Aa]libi|RelPos|rel_embeddings"
                       r"|relative_positional|rel_logits|r_kernel|attention_bias"),
    "added": re.compile(r"(^|[._])(?!.*inv_freq)(w?pos(ition)?s?_?(emb(ed(ding)?s?)?|enc(oding)?|embd)|wpe|pos_embed"
                        r"|positional?_(emb\w*|enc\w*)|position_encod\w*)"
                        r"|PositionalEmbedding|SinusoidalPosition|LearnedPosition"),
}  # fmt: skip
# kind that the engine finds -> kind that names announce
FOUND = {
    "rotary": "rotary", "learnable": "added", "absolute": "added", "relative bias": "bias", "relative embedding": "bias",
    "alibi": "bias", "joined": "added",
}  # fmt: skip

# Architectures without positional encoding of any kind: why there must be no sink.
CONVOLUTION = "a network of convolutions"
RECURRENT = "order enters by recurrence or convolution"
WITHOUT = {
    "bit": CONVOLUTION, "dinov3_convnext": CONVOLUTION, "convnext": CONVOLUTION,
    "convnextv2": CONVOLUTION, "efficientnet": CONVOLUTION, "focalnet": CONVOLUTION,
    "hgnet_v2": CONVOLUTION, "mobilenet_v1": CONVOLUTION, "mobilenet_v2": CONVOLUTION, "poolformer": "pooling in place of attention",
    "pp_lcnet": CONVOLUTION, "regnet": CONVOLUTION, "resnet": CONVOLUTION, "textnet": CONVOLUTION,
    "cvt": "convolutional projections tell the order", "mobilevit": "convolutions between attention over pixels",
    "mobilevitv2": "convolutions between attention over pixels", "segformer": "convolutions in its feed-forward layers",
    "pvt_v2": "convolutions in its feed-forward layers", "swiftformer": "convolutions beside additive attention",
    "mamba": RECURRENT, "mamba2": RECURRENT, "falcon_mamba": RECURRENT, "rwkv": RECURRENT, "xlstm": RECURRENT, "jamba": RECURRENT,
    "zamba": RECURRENT, "nemotron_h": RECURRENT, "kimi_linear": RECURRENT, "nemo_speechlm": RECURRENT,
}  # fmt: skip


# Kinds of positions that are not there though names announce them: model type -> kind -> why.
OFF = "off in the default configuration"
EXCUSED = {
    "roformer": {"added": "its table of sinusoids is the rotation"},
    "deepseek_v4": {"bias": "its position_bias is a vector for each place in a window, added before the gates' softmax: learnable"},
    "falcon/alibi": {"rotary": "not used with ALiBi"},
    "bamba": {"rotary": OFF},
    "granitemoehybrid": {"rotary": OFF},
    "zamba2": {"rotary": OFF},
    "beit": {"bias": OFF, "added": OFF},
    "data2vec-vision": {"bias": OFF, "added": OFF},
}


# Positions that version 0.1, which told them by names and shapes, found otherwise: kind/model type -> why.
CHANGED = {
    "causal-lm/beam": "its layers without rotation scale the queries by a number for each place: modulation",
    "causal-lm/gpt_neox_japanese": "what was called learnable is the bias of a linear map, the same at every place",
    "causal-lm/hrm_text": "what was called learnable are a state that it begins with, the same at every place, and a weight",
    "causal-lm/minimax": "its linear attention decays with distance, and scales queries and keys by place: decay, modulation",
    "causal-lm/prophetnet": "queries meet a vector for each distance: relative embedding",
    "masked-lm/convbert": "its dynamic convolution weighs neighbours by a product of each place with a vector for each distance, behind a "
                          "softmax: relative embedding",
    "masked-lm/funnel": "what was called learnable are biases of queries, a vector for each head",
    "masked-lm/mra": "two of those called learnable are weights of linear maps",
    "masked-lm/perceiver": "its latents were called learnable: they are queries of its own, whose places are not the text's",
    "seq2seq/pegasus_x": "what was called learnable and relative are vectors of its own beside the text, and products with them",
    "seq2seq/prophetnet": "queries of the decoder meet a vector for each distance: relative embedding",
    "image/perceiver": "positions stand beside the features of each pixel, and are not added to them: joined",
}  # fmt: skip


def announced(model: nn.Module, run: Callable[[], Any]) -> dict[str, str]:
    """Kind of position -> the first part of the model, among those that `run()` uses, whose name announces it."""
    called: set[str] = set()
    named = dict(model.named_modules())
    hooks = [m.register_forward_pre_hook(lambda _, __, path=path: called.add(path)) for path, m in named.items()]
    try:
        run()
    finally:
        for hook in hooks:
            hook.remove()
    tables = {p for p, m in named.items() if type(m).__name__ == "Embedding"}  # whose weight may be taken without a call
    used = [p for p in named if p in called or (p in tables and p.rpartition(".")[0] in called)]
    names = [f"{path}.{name}" for path in used for name, _ in [*own(named[path].named_parameters), *own(named[path].named_buffers)]]
    names += [type(named[path]).__name__ for path in used]
    if getattr(model.config, "alibi", None) or getattr(getattr(model.config, "attn_config", None), "alibi", None):
        names.append("alibi")
    return {kind: found for kind, pattern in ANNOUNCED.items() if (found := next(filter(pattern.search, names), None))}


def own(listed: Callable[..., Iterator]) -> Iterator:
    """Parameters or buffers of one module, without those of its children."""
    return listed(recurse=False)


def missing(row: dict[str, Any], sinks: dict[str, int]) -> str:
    """Why the sinks found are not all there ought to be; empty if they are."""
    found = {FOUND.get(kind, kind) for kind in sinks}
    known = {**EXCUSED.get(row["name"], {}), **EXCUSED.get(f"{row['name']}/{row['option']}", {})}
    excused = {kind for kind, why in known.items() if not (row["option"] and why == OFF)}
    absent = [f"{kind} ({part})" for kind, part in row["announced"].items() if kind not in found and kind not in excused]
    if absent:
        return "no sink for " + ", ".join(absent)
    if not sinks and row["name"] not in WITHOUT and not excused:
        return "no positions found, and it is not known to have none"
    return ""
