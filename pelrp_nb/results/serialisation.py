"""Tensors and JSON in one file, .npz or .safetensors: written whole or not at all, never unpickled, its content checked.

Both formats hold the same: tensors by name, and one text `pelrp_nb` that is JSON with the format's name and version, a checksum
over everything else, and the content.  A flipped bit is found whichever format it happens in.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import FileError
from .as_promised import as_promised

FORMAT, VERSION = "pelrp_nb.explanation", 1
SUFFIXES = (".npz", ".safetensors")
AGAIN = "Save the explanation again with explanation.save(path)."
_KEY, _PLACE = "pelrp_nb", "tensor"


def write(path: str | os.PathLike, tree: Mapping[str, Any]) -> None:
    """Write a tree of dicts, lists, plain values and tensors; FileError if that cannot be, and the old file is still there."""
    target = Path(path)
    kind = _suffix(target)
    tensors: dict[str, Tensor] = {}
    text = json.dumps(_without(tree, (), tensors), ensure_ascii=True)
    header = {"format": FORMAT, "version": VERSION, "sha256": _digest(text, tensors), "content": text}
    put(target, _encode(kind, json.dumps(header, ensure_ascii=True), tensors))


def read(path: str | os.PathLike) -> dict[str, Any]:
    """The tree as it was written; FileError if the file is missing, damaged, of a newer format, or not one of ours."""
    target = Path(path)
    kind = _suffix(target)
    raw = contents(target, "Write it first: explanation.save(path).")
    try:
        header, tensors = _decode(kind, raw)
    except Exception as error:  # whatever a parser says about bytes it cannot read, the file is damaged or no archive at all
        raise FileError(f"{target} must be {_article(kind)} file, and cannot be read as one. {AGAIN}") from error
    content = _check(target, header, tensors)
    with as_promised(target, "what explanation.save wrote", AGAIN):
        tree = _with(json.loads(content), tensors)
        if not isinstance(tree, dict):
            raise TypeError(f"its content must be a JSON object, and is a {type(tree).__name__}")
        return tree


def contents(path: Path, remedy: str) -> bytes:
    """The bytes of an ordinary file. Raises FileError for anything that is none: a folder, a pipe, a device."""
    if path.is_dir():
        raise FileError(f"{path} must be a file, and is a folder. Type the name of a file in it.")
    if path.exists() and not path.is_file():
        raise FileError(f"{path} must be an ordinary file, and is a pipe, a socket or a device. Copy what it gives into a file first.")
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise FileError(f"There must be a file {path}, and there is none. {remedy}") from None
    except OSError as error:
        raise FileError(f"{path} must be readable, and the system said: {error.strerror}. Check its rights.") from error


def to_bytes(tree: Mapping[str, Any]) -> bytes:
    """The same tree as bytes, for a place that has a checksum of its own."""
    tensors: dict[str, Tensor] = {}
    return _encode(".safetensors", json.dumps(_without(tree, (), tensors), ensure_ascii=True), tensors)


def from_bytes(raw: bytes) -> dict[str, Any]:
    """The tree that `to_bytes` wrote."""
    text, tensors = _decode(".safetensors", raw)
    return _with(json.loads(text or "{}"), tensors)


def _without(value: Any, path: tuple[str, ...], tensors: dict[str, Tensor]) -> Any:
    """The tree with each tensor put aside and its name left in its place."""
    if isinstance(value, Tensor):
        name = re.sub(r"[^A-Za-z0-9_.-]+", "_", ".".join(path))
        while name in tensors or name == _KEY:
            name += f".{len(tensors)}"
        tensors[name] = value.detach().cpu().contiguous().clone()
        return {_PLACE: name}
    if isinstance(value, Mapping):
        return {str(key): _without(item, (*path, str(key)), tensors) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without(item, (*path, str(i)), tensors) for i, item in enumerate(value)]
    return value


def _with(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    if isinstance(value, dict):
        if value.keys() == {_PLACE} and isinstance(value[_PLACE], str):
            return tensors[value[_PLACE]]  # KeyError: the tensor is missing
        return {key: _with(item, tensors) for key, item in value.items()}
    return [_with(item, tensors) for item in value] if isinstance(value, list) else value


def put(target: Path, raw: bytes, name: str = f"explanation{SUFFIXES[0]}") -> None:
    """Write bytes beside the target and then move them over it, so that no reader ever sees half a file."""
    target = Path(os.path.realpath(target))
    if target.is_dir():
        raise FileError(f"{target} must be the name of a file, and is a folder. Type {target.name}/{name}.")
    if not target.parent.is_dir():
        raise FileError(f"The folder of {target} must exist, and does not. Make it first: mkdir -p {target.parent}")
    beside = target.with_name(f".{secrets.token_hex(8)}.part")
    try:
        with open(beside, "xb") as file:
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, target)
    except OSError as error:
        raise FileError(f"{target} must be writable, and the system said: {error.strerror}. Type another path.") from error
    finally:
        beside.unlink(missing_ok=True)


def _article(kind: str) -> str:
    return f"an {kind}" if kind == ".npz" else f"a {kind}"


def _suffix(path: Path) -> str:
    kind = path.suffix.lower()
    if kind not in SUFFIXES:
        came = f"ends in {kind!r}" if kind else "has no ending"
        raise FileError(f"The path must end in {' or '.join(SUFFIXES)}, and {path.name!r} {came}. Type {path.stem}{SUFFIXES[0]}.")
    return kind


def _encode(kind: str, header: str, tensors: Mapping[str, Tensor]) -> bytes:
    if kind == ".safetensors":
        from safetensors.torch import save

        return save(dict(tensors), metadata={_KEY: header})
    import io
    import zipfile

    import numpy as np

    try:
        arrays = {_KEY: np.array(header), **{name: tensor.numpy() for name, tensor in tensors.items()}}
    except TypeError as error:
        raise FileError(f"An .npz file must hold types numpy has, and a tensor is {error}. Type a path in .safetensors.") from None
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:  # what np.savez writes, without the date
        for name, array in arrays.items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, array, allow_pickle=False)
    return file.getvalue()


def _decode(kind: str, raw: bytes) -> tuple[str | None, dict[str, Tensor]]:
    """The header, None if there is none, and the tensors."""
    if kind == ".safetensors":
        from safetensors.torch import load

        tensors = load(raw)
        size = int.from_bytes(raw[:8], "little")
        return json.loads(raw[8 : 8 + size]).get("__metadata__", {}).get(_KEY), tensors
    arrays = _arrays(raw)
    if _KEY not in arrays:
        return None, {}
    return str(arrays.pop(_KEY)), {name: torch.from_numpy(array) for name, array in arrays.items()}


def _arrays(raw: bytes) -> dict[str, Any]:
    """The arrays of an .npz file that nobody compressed: together no larger than the file. Raises ValueError for others."""
    import io
    import zipfile

    import numpy as np

    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        entries = archive.infolist()
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries) or sum(entry.file_size for entry in entries) > len(raw):
            raise ValueError("it would unpack to more than it is")
        found = {}
        for entry in entries:
            file = io.BytesIO(archive.read(entry))
            version = np.lib.format.read_magic(file)
            read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, _, dtype = read_header(file)
            if math.prod(shape) * dtype.itemsize > entry.file_size:
                raise ValueError(f"{entry.filename} says that it is larger than it is")
            file.seek(0)
            found[entry.filename.removesuffix(".npy")] = np.lib.format.read_array(file, allow_pickle=False)
        return found


def _check(path: Path, header: str | None, tensors: Mapping[str, Tensor]) -> str:
    """The content, JSON, of a header that is ours, whole, and not from the future."""
    try:
        fields = json.loads(header) if header is not None else {}
        ours = fields.get("format") == FORMAT
    except (ValueError, AttributeError, RecursionError) as error:
        raise FileError(f"{path} must hold what explanation.save wrote, and its header is damaged. {AGAIN}") from error
    if not ours:
        raise FileError(f"{path} must hold an explanation, and holds something else. Load what explanation.save(path) wrote.")
    version = fields.get("version")
    if not isinstance(version, int) or version > VERSION:
        raise FileError(f"{path} must be of format {VERSION} or older, and is of format {version}. Type pip install --upgrade pelrp_nb")
    text = fields.get("content")
    if not isinstance(text, str) or fields.get("sha256") != _digest(text, tensors):
        raise FileError(f"{path} must be as it was written, and its checksum says it was changed. {AGAIN}")
    return text


def _digest(text: str, tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over the content and every tensor: name, type, shape, bytes."""
    mixed = hashlib.sha256(text.encode("ascii", "replace"))
    for name in sorted(tensors):
        tensor = tensors[name]
        mixed.update(f"\0{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode("utf-8", "replace"))
        if tensor.numel():
            mixed.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return mixed.hexdigest()
