"""What cannot be explained as it is, found before the forward pass: the reason, and what to type."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ..errors import ModelError

DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)
VISIBLE = ("eager", "sdpa", None)


def inspect(model: nn.Module) -> None:
    """Raise ModelError if the model's operations cannot be seen, or if chance takes part in its forward pass."""
    if not isinstance(model, nn.Module):
        raise ModelError(f"The model must be a torch.nn.Module, got {type(model).__name__}. Type from_pretrained(name).")
    modules = list(model.named_modules())
    wrapped(modules)
    chance(modules)
    attention(modules)
    for name, parameter in model.named_parameters():
        if parameter.is_inference():
            raise ModelError(f"`{name}` was made in inference_mode and cannot be walked back. Load the model outside of it.")
        if parameter.is_meta:
            raise ModelError(f"`{name}` is on the meta device and has no values. Load the weights, model.to_empty is not enough.")
    for name, module in modules:
        quantised(name, module)


def wrapped(modules: list[tuple[str, nn.Module]]) -> None:
    """Wrappers that run the model where this thread does not look."""
    for name, module in modules:
        kind = type(module).__name__
        if kind in ("DataParallel", "DistributedDataParallel", "FullyShardedDataParallel"):
            raise ModelError(f"{kind} runs replicas in other threads, unseen here. Explain the model inside: model.module.")
        if kind == "OptimizedModule" or getattr(module, "_compiled_call_impl", None) is not None:
            raise ModelError(
                f"A compiled model hides its operations (`{name or kind}`). Explain the plain one: model._orig_mod, or load it "
                "again without torch.compile."
            )
        if isinstance(module, torch.jit.ScriptModule):
            raise ModelError(f"`{name or kind}` is a scripted module, whose operations are hidden. Load the Python module.")


def chance(modules: list[tuple[str, nn.Module]]) -> None:
    """Training mode is fine where no dropout is active."""
    for name, module in modules:
        rate = getattr(module, "p", 0)
        if module.training and isinstance(module, DROPOUTS) and isinstance(rate, float | int) and rate > 0:
            raise ModelError(
                f"Relevance needs a forward pass without chance; the dropout `{name}` is active (p = {rate}). Type model.eval()."
            )


def configs(config: Any, path: str = "config") -> list[tuple[str, Any]]:
    """The configuration and all that are nested in it."""
    found = [(path, config)]
    for name, value in vars(config).items():
        if value is not config and hasattr(value, "to_dict") and hasattr(value, "model_type"):
            found += configs(value, f"{path}.{name}")
    return found


def attention(modules: list[tuple[str, nn.Module]]) -> None:
    """Attention kernels that hide their products: flash, flex, paged, kernels from the hub."""
    seen: list[tuple[str, Any]] = []
    for name, module in modules:
        config = getattr(module, "config", None)
        if config is not None and hasattr(config, "to_dict") and not any(config is c for _, c in seen):
            seen += configs(config, f"{name}.config" if name else "config")
    for path, config in seen:
        chosen = getattr(config, "_attn_implementation", None)
        if isinstance(chosen, str) and chosen not in VISIBLE:
            raise ModelError(
                f"Attention must be computed where the engine sees it, by eager or sdpa; {path} asks for {chosen!r}. "
                'Type model.set_attn_implementation("sdpa").'
            )
    for name, module in modules:
        kernel = module.__dict__.get("forward")
        where = getattr(kernel, "__module__", "") or ""
        if kernel is not None and where.startswith(("kernels", "flash_attn", "liger_kernel")):
            raise ModelError(f"`{name}` was replaced by a kernel of {where}, which hides its operations. Load it without kernels.")


def quantised(name: str, module: nn.Module) -> None:
    """Quantised layers whose backward pass is not that of their forward pass."""
    kind = type(module)
    home = kind.__module__
    if home.startswith(("torch.ao.nn.quantized", "torch.ao.nn.quantizable", "auto_gptq", "awq", "gptqmodel")) or (
        home.startswith("torch.nn.quantized") or "quantized.dynamic" in home
    ):
        raise ModelError(
            f"`{name}` is a quantised layer ({home}.{kind.__name__}) without a rule: it has no gradient. "
            "Load the model unquantised, or in bfloat16."
        )
