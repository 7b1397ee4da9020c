"""Take a model off the shelf: one of the zoo, a local folder, or a hub name that the user typed."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from ..errors import ZooError
from .catalogue import MODELS, nearest
from .measure import accuracy
from .tasks import Task, task

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedConfig

PACKAGE = Path(__file__).parent / "models"
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")  # owner/name
_AUTO_CLASSES = (  # how a class name ends -> the auto class that loads it
    ("ForSequenceClassification", "AutoModelForSequenceClassification"),
    ("ForTokenClassification", "AutoModelForTokenClassification"),
    ("ForQuestionAnswering", "AutoModelForQuestionAnswering"),
    ("ForImageClassification", "AutoModelForImageClassification"),
    ("ForMaskedLM", "AutoModelForMaskedLM"),
    ("ForCausalLM", "AutoModelForCausalLM"),
    ("LMHeadModel", "AutoModelForCausalLM"),
    ("ForConditionalGeneration", "AutoModelForSeq2SeqLM"),
)
_NUMBER = re.compile(r"(?<=\.)\d+(?=\.)")  # of a layer, in the name of a weight
_OURS = {  # classes that transformers has not: their module, and the auto class of their processor
    "DINOv3ViTClassifier": ("dinov3_classifier", "AutoImageProcessor"),
    "AttentionOnlyLM": ("attention_only", "AutoTokenizer"),
}


def names() -> tuple[str, ...]:
    """The models that travel with this package."""
    return tuple(name for name in MODELS if (PACKAGE / name / "card.json").is_file())


def load(name: str | Path, seed: int = 0) -> tuple[Any, Any]:
    """A model in evaluation mode and its processor.

    `name` is a name of the zoo, a local folder as `save_pretrained` writes it, or a hub name with its owner
    (`owner/name`): only that last one may be fetched. `seed` is another training of the same model: the task models of the zoo
    have three to five, 0 is the one that everything else here speaks of.
    Raises ZooError where there is no such model, or where its files are missing, damaged, or not those of the model. Nobody is asked
    anything, and no code that a folder brings is run.
    """
    local = _folder(name, seed)
    if local is None and not _HUB_NAME.fullmatch(str(name)):
        raise ZooError(
            f"No model `{name}` in the zoo, and no such folder.{nearest(str(name), names())} "
            f"The zoo has: {', '.join(names())}. For a model of the hub, type its owner too: owner/name."
        )
    if local is not None:
        _check_files(local, str(name))
    source, only_local = (str(name), False) if local is None else (str(local), True)
    try:
        with _quiet(only_local):
            return _load(source, only_local)
    except ZooError:
        raise
    except Exception as error:  # safetensors and tokenizers raise kinds of their own
        if "trust_remote_code" in str(error):
            raise ZooError(
                f"`{name}` brings Python code of its own (auto_map), which is not run here. If you trust it, load it yourself and pass "
                f"the model: transformers.AutoModel.from_pretrained({str(name)!r}, trust_remote_code=True)."
            ) from error
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ZooError(f"`{name}` must be a model with its processor, but loading it failed: {reason}") from error


def card(name: str | Path, seed: int = 0) -> Mapping[str, Any]:
    """What a model is, how it was trained, and how well it does; numbers were measured on the files in its folder."""
    folder = _folder(name, seed)
    if folder is None:
        raise ZooError(f"No model `{name}` in the zoo.{nearest(str(name), names())} The zoo has: {', '.join(names())}.")
    return MappingProxyType(_read_json(folder / "card.json", str(name)))


def check(name: str | Path, limit: int | None = None) -> float:
    """Measure a model's accuracy again, on the held-out examples of its task (the first `limit` of them).

    Of the questions, only those that the card says it can answer.
    """
    stated = card(name)
    model, processor = load(name)
    return accuracy(model, processor, packaged(stated).examples[:limit])


def packaged(stated: Mapping[str, Any]) -> Task:
    """The task of a card, with the held-out examples that it says its model can answer."""
    found = task(stated["task"])
    solves = stated.get("solves")
    if solves is None:
        return found
    return replace(found, examples=tuple(one for one in found.examples if one.text.split(maxsplit=1)[0] in solves))


def digest(weights: Path) -> str:
    """The sha256 by which a damaged weight file is told."""
    return hashlib.sha256(weights.read_bytes()).hexdigest()


def _folder(name: str | Path, seed: int = 0) -> Path | None:
    """The folder of a zoo name or a path; None if it is neither. Raises ZooError for a seed that it was not trained from."""
    found = PACKAGE / str(name) if str(name) in MODELS and (PACKAGE / str(name)).is_dir() else None
    if seed != 0:
        there = sorted(int(one.name[5:]) for one in found.glob("seed-*")) if found else []
        if found is None or seed not in there:
            has = f"has the seeds {', '.join(map(str, (0, *there)))}" if there else "has no other seed"
            raise ZooError(f"The seed of `{name}` must be one that it was trained from, but is {seed!r}: it {has}. Type seed=0.")
        return found / f"seed-{seed}"
    if found is not None:
        return found
    return Path(name) if str(name) and Path(name).is_dir() else None


def _check_files(folder: Path, name: str) -> None:
    """Say which file is missing or damaged before a loader trips over it."""
    _read_json(folder / "config.json", name)
    stated = _read_json(folder / "card.json", name).get("sha256") if (folder / "card.json").exists() else None
    weights = folder / "model.safetensors"
    if stated is None and name not in names():
        return
    if not weights.is_file():
        raise ZooError(f"The weights of `{name}` are missing: there is no file {weights}. {_again(name)}")
    if digest(weights) != stated:
        raise ZooError(
            f"The weights of `{name}` are damaged: {weights} must have the sha256 its card states, but has another "
            f"({weights.stat().st_size:,} bytes). {_again(name)}"
        )


def _again(name: str) -> str:
    known = name if name in names() else "NAME"
    return f"Install pelrp_nb again, or train the model: python -m pelrp_nb.zoo.train {known} --out FOLDER"


def _read_json(path: Path, name: str) -> dict[str, Any]:
    if not path.is_file():
        raise ZooError(f"The folder of `{name}` must have a file {path.name}, but there is no {path}. {_again(name)}")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ZooError(f"{path} of `{name}` must be JSON, but {error}. {_again(name)}") from error
    if not isinstance(found, dict):
        raise ZooError(f"{path} of `{name}` must be a JSON object, but is a {type(found).__name__}. {_again(name)}")
    return found


def _load(source: str, only_local: bool) -> tuple[Any, Any]:
    import transformers

    where: dict[str, Any] = {"local_files_only": only_local, "trust_remote_code": False}  # nobody is asked, no code of a folder is run
    config = transformers.AutoConfig.from_pretrained(source, **where)
    model_class, processor_class = (_class(found) for found in _classes(config))
    model, report = model_class.from_pretrained(source, config=config, output_loading_info=True, ignore_mismatched_sizes=True, **where)
    _whole(source, model, report)
    return model.eval(), processor_class.from_pretrained(source, **where)


def _whole(source: str, model: nn.Module, report: Mapping[str, Any]) -> None:
    """Raises ZooError where weights are missing, of another shape, or of layers that the model has not: others would be random."""
    sizes = [f"{name} is {tuple(came)} where the model has {tuple(wanted)}" for name, came, wanted in report["mismatched_keys"]]
    missing = sorted(report["missing_keys"])
    kinds = {_NUMBER.sub("#", name) for name in model.state_dict()}
    layers = sorted(name for name in report["unexpected_keys"] if _NUMBER.sub("#", name) in kinds)
    for found, said in (
        (sorted(sizes), "of another shape"),
        (missing, "missing, so that random numbers would stand there"),
        (layers, "of layers that its config.json does not have"),
    ):
        if found:
            shown = ", ".join(found[:3]) + (f" and {len(found) - 3} more" if len(found) > 3 else "")
            raise ZooError(
                f"The weights of `{source}` must be those of {type(model).__name__}, but these are {said}: {shown}. "
                "Save the model again with save_pretrained, or load it yourself and pass it: explain(model, ...)."
            )


def _class(name: str) -> Any:
    """A class of transformers, or one of ours."""
    import transformers

    return getattr(import_module(f".{_OURS[name][0]}", __package__) if name in _OURS else transformers, name)


def _classes(config: PreTrainedConfig) -> tuple[str, str]:
    """The auto classes for the model and its processor, from the name of the class that was saved."""
    saved = (config.architectures or [""])[0]
    if saved in _OURS:
        return saved, _OURS[saved][1]
    sees = hasattr(config, "vision_config")
    if sees and saved.endswith("ForConditionalGeneration"):
        return "AutoModelForImageTextToText", "AutoProcessor"
    model = next((auto for ending, auto in _AUTO_CLASSES if saved.endswith(ending)), "AutoModel")
    pixels = hasattr(config, "image_size") or model == "AutoModelForImageClassification"
    return model, "AutoProcessor" if sees else "AutoImageProcessor" if pixels else "AutoTokenizer"


@contextmanager
def _quiet(active: bool) -> Iterator[None]:
    """No progress bar for files that are already here."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    if active:
        logging.disable_progress_bar()
    try:
        yield
    finally:
        if active and shown:
            logging.enable_progress_bar()
