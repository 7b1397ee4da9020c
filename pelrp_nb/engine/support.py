"""What cannot be explained as it is, found before the forward pass: the reason, and what to type."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import chain
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as hooks_of_all

from ..errors import ModelError
from .model_tree import ModelTree
from .saved import flows

DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)
VISIBLE = ("eager", "sdpa", None)
KERNELS = ("kernels", "flash_attn", "liger_kernel", "xformers", "triton")
SHARDED, SPREAD = ("torch.distributed.fsdp", "FullyShardedDataParallel"), ("torch.distributed.tensor", "DTensor")
COMPILED = ("torch._dynamo.eval_frame", "OptimizedModule")
AGAIN = "Dispatch the model again: accelerate.dispatch_model(model, device_map)."


def inspect(model: nn.Module) -> ModelTree:
    """The tree of a model's modules. Raises ModelError if its operations cannot be seen, or if chance takes part in its forward pass."""
    if not isinstance(model, nn.Module):
        raise ModelError(f"The model must be a torch.nn.Module, got {type(model).__name__}. Type from_pretrained(name).")
    tree = ModelTree(model)
    modules = tree.modules
    surroundings()
    running(model)
    permuted(model)
    kinds = list({type(module): (name, module) for name, module in reversed(modules)}.values())  # the first module of each
    wrapped(modules, kinds)
    backward_hooks(modules)
    chance(modules)
    attention(modules)
    for name, parameter in tree.parameters:
        if parameter.is_inference():
            raise ModelError(f"`{name}` was made in inference_mode and cannot be walked back. Load the model outside of it.")
    home = device_of(model)
    for name, module in modules:
        placed(model, name, module, home)
    for name, module in kinds:
        quantised(name, module)
    return tree


def surroundings() -> None:
    """What this thread does with every tensor: another transform, a default device without values."""
    if torch._C._functorch.peek_interpreter_stack() is not None or torch.autograd.forward_ad._current_level >= 0:
        raise ModelError(
            "A model cannot be explained inside vmap, jvp, grad or another transform of torch.func or forward-mode autograd, which "
            "hide numbers from the rules. Explain outside of it; several rows at once: explain(model, [one, other])."
        )
    if torch.get_default_device().type == "meta":
        raise ModelError(
            "The default device is meta, where tensors have no values, so nothing can be computed. "
            'Type torch.set_default_device("cpu"), or leave the `with torch.device("meta")`.'
        )


def permuted(model: nn.Module) -> None:
    """A model whose positions are permuted just now: an explanation would not see that."""
    if any(flow.model is model and flow.permuted is not None for flow in flows()):
        raise ModelError(
            "Inside permute_positions the model is computed, not explained: type model(**inputs) there. "
            "What positions are worth is told by exchange(model, inputs)."
        )


def running(model: nn.Module) -> None:
    """The model's own forward pass, of which this would be a part without end."""
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        if frame.f_code is nn.Module._call_impl.__code__ and frame.f_locals.get("self") is model:
            raise ModelError(
                "A model cannot be explained inside its own forward pass: a hook that explains would be called again by the "
                "explanation's own pass, without end. Take the hook off (handle.remove()), and explain before or after the call."
            )
        frame = frame.f_back


def backward_hooks(modules: list[tuple[str, nn.Module]]) -> None:
    """Hooks on gradients, which would be given relevance instead; full ones put an operation of their own around the module."""
    found = [name for name, module in modules if module._backward_hooks or module._backward_pre_hooks]
    if found or hooks_of_all._global_backward_hooks or hooks_of_all._global_backward_pre_hooks:
        where = f"`{found[0] or type(modules[0][1]).__name__}` has a backward hook" if found else "A backward hook is on all modules"
        raise ModelError(
            f"{where}, which would hear relevance in place of gradients. Remove it: handle.remove(), of the handle that "
            "register_full_backward_hook gave."
        )


def loaded(place: tuple[str, str]) -> tuple[type, ...]:
    """A class of that module; none where nobody has loaded it, so that nothing can be of it."""
    return (getattr(sys.modules[place[0]], place[1]),) if place[0] in sys.modules else ()


def wrapped(modules: list[tuple[str, nn.Module]], kinds: list[tuple[str, nn.Module]]) -> None:
    """Wrappers that run the model where this thread does not look."""
    replicas, spread, compiled = (nn.DataParallel, nn.parallel.DistributedDataParallel, *loaded(SHARDED)), loaded(SPREAD), loaded(COMPILED)
    for name, module in kinds:
        kind = type(module).__name__
        if isinstance(module, replicas):
            raise ModelError(f"{kind} runs replicas in other threads, unseen here. Explain the model inside: model.module.")
        if isinstance(module, torch.jit.ScriptModule):
            raise ModelError(f"`{name or kind}` is a scripted module, whose operations are hidden. Load the Python module.")
    for name, module in modules:
        if spread and module._parameters and any(isinstance(p, spread) for p in module._parameters.values()):
            raise ModelError(
                f"`{name or type(module).__name__}` is sharded over processes (FSDP or tensor parallel), of which this is one. "
                'Load the model whole, or split over devices with device_map="auto".'
            )
        if getattr(module, "_compiled_call_impl", None) is not None or (compiled and isinstance(module, compiled)):
            raise ModelError(
                f"A compiled model hides its operations (`{name or type(module).__name__}`). Explain the plain one: model._orig_mod, or "
                "load it again without torch.compile."
            )


def chance(modules: list[tuple[str, nn.Module]]) -> None:
    """Training mode is fine where no dropout is active."""
    for name, module in modules:
        rate = module.p if module.training and isinstance(module, DROPOUTS) else 0
        if isinstance(rate, float | int) and rate > 0:
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
        config = module.__dict__["config"] if "config" in module.__dict__ else getattr(type(module), "config", None) and module.config
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
        replaced(name, module)


def replaced(name: str, module: nn.Module) -> None:
    """A forward method that a kernel from the hub has taken over, on the module or on its class."""
    for forward in (module.__dict__.get("forward"), type(module).forward):
        where = getattr(getattr(forward, "__wrapped__", forward), "__module__", "") or ""
        if where.startswith(KERNELS):
            raise ModelError(
                f"`{name or type(module).__name__}` was replaced by a kernel of {where}, which hides its operations. "
                "Load it without kernels: from_pretrained(name, use_kernels=False)."
            )


# --- where weights are -----------------------------------------------------------------------------------------------


def placed(model: nn.Module, name: str, module: nn.Module, home: torch.device) -> None:
    """Every weight has values, or a hook of accelerate that brings them; where devices differ, inputs are moved too."""
    hooked = "_hf_hook" in vars(module)
    for own, parameter in module._parameters.items():
        if parameter is None:
            continue
        if parameter.is_meta and not offloaded(module) and not brought(model, name):
            there = hasattr(model, "hf_device_map") or any(hasattr(m, "_hf_hook") for m in model.modules())
            what = (
                f"and no hook of accelerate brings its values. {AGAIN}"
                if there
                else ("and has no values. Load the weights, model.to_empty is not enough.")
            )
            raise ModelError(f"`{f'{name}.{own}'.removeprefix('.')}` is on the meta device {what}")
        if not hooked and not parameter.is_meta and parameter.device != home and not brought(model, name):
            raise ModelError(
                f"The model is split over devices, but `{name}` on {parameter.device} has no hook that moves its inputs there. " + AGAIN
            )


def hooks_of(module: nn.Module) -> list[Any]:
    """The hooks of accelerate on a module, those in a chain apart."""
    hook = vars(module).get("_hf_hook")
    return list(getattr(hook, "hooks", None) or ([] if hook is None else [hook]))


def offloaded(module: nn.Module) -> bool:
    """Whether accelerate brings this module's weights when it runs."""
    return any(getattr(hook, "offload", False) for hook in hooks_of(module))


def brought(model: nn.Module, name: str) -> bool:
    """Whether a hook on a module around this one brings or moves all that is inside."""
    around = [name.rsplit(".", i)[0] for i in range(1, name.count(".") + 1)] + [""] if name else []
    return any(getattr(h, "place_submodules", False) for outer in around for h in hooks_of(model.get_submodule(outer)))


def device_of(model: nn.Module) -> torch.device:
    """Where the model wants its inputs."""
    for hook in hooks_of(model):
        if getattr(hook, "execution_device", None) is not None:
            device = hook.execution_device
            return torch.device("cuda", device) if isinstance(device, int) else torch.device(device)
    return next((p.device for p in held(model) if not p.is_meta), torch.device("cpu"))


def dtype_of(model: nn.Module) -> torch.dtype:
    """In what the model computes; torch's default where it holds no numbers."""
    return next((p.dtype for p in held(model) if p.is_floating_point()), torch.get_default_dtype())


def held(model: nn.Module) -> Iterator[Tensor]:
    """What the model holds, its weights first."""
    return chain(model.parameters(), model.buffers())


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
