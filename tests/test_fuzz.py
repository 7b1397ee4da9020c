"""Files of strangers: one clear FileError, no hang, no more memory than the file is worth (10,000 of them: `python tests/fuzz.py`)."""

from __future__ import annotations

import io
import json
import os
import zipfile

import fuzz
import numpy as np
import pytest
import torch
from made import made
from safetensors.torch import save as safe_bytes

from pelrp_nb import Exchange, Explanation, Explanations
from pelrp_nb.errors import FileError
from pelrp_nb.results import serialisation
from pelrp_nb.results.columns import rows_of
from pelrp_nb.results.folder import Folder

pytest.importorskip("pyarrow")


@pytest.mark.parametrize("first", range(0, 120, 30))
def test_damaged_and_misleading_files_are_loaded_or_refused(first, tmp_path):
    found = {fuzz.one(seed, tmp_path)[1] for seed in range(first, first + 30)}
    assert {"loaded", "refused"} <= found


def test_what_the_files_are_made_of_loads(tmp_path):
    for kind, load in fuzz.LOADS.items():
        fuzz.SEEDS[kind].save(tmp_path / f"{kind}.npz")
        assert fuzz.tried(lambda: load(tmp_path / f"{kind}.npz")) == "loaded"  # noqa: B023
    fuzz.table(tmp_path / "folder", [row for i in range(2) for row in rows_of(i, None, made(("a", "b"), layers=1))])
    assert fuzz.tried(lambda: Explanations.load(tmp_path / "folder")) == "loaded"


def zipped(name: str, content: bytes, how: int) -> bytes:
    """One entry in a zip file."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", how) as archive:
        archive.writestr(name, content)
    return file.getvalue()


def bombs() -> dict[str, bytes]:
    """Small files that say they hold gigabytes."""
    zeros = io.BytesIO()
    np.lib.format.write_array(zeros, np.zeros(2**24), allow_pickle=False)
    claim = io.BytesIO()
    np.lib.format.write_array_header_1_0(claim, {"descr": "<f8", "fortran_order": False, "shape": (2**34,)})
    return {
        "packed.npz": zipped("pelrp_nb.npy", zeros.getvalue(), zipfile.ZIP_DEFLATED),
        "claimed.npz": zipped("pelrp_nb.npy", claim.getvalue(), zipfile.ZIP_STORED),
    }


@pytest.mark.parametrize("name", bombs())
def test_a_small_file_that_unpacks_to_gigabytes_is_refused(name, tmp_path):
    (tmp_path / name).write_bytes(bombs()[name])
    assert fuzz.tried(lambda: Explanation.load(tmp_path / name)) == "refused"


def test_a_shard_that_unpacks_to_gigabytes_is_refused_by_name(tmp_path, monkeypatch):
    monkeypatch.setattr("pelrp_nb.results.folder.SMALL", 10_000)
    rows = [row for i in range(2) for row in rows_of(i, None, made(("a",), layers=1))]
    rows[0]["text"] = "x" * 2**22
    fuzz.table(tmp_path / "folder", rows)
    with pytest.raises(FileError, match=r"shards/00000.parquet cannot be read as one: it would unpack to 4 MiB"):
        Explanations.load(tmp_path / "folder")[0]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
@pytest.mark.parametrize("name", ["e.npz", "e.safetensors"])
def test_a_pipe_is_refused_and_not_waited_for(name, tmp_path):
    os.mkfifo(tmp_path / name)
    for load in (Explanation.load, Explanations.load, Exchange.load):
        with pytest.raises(FileError, match="must be an ordinary file, and is a pipe"):
            load(tmp_path / name)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
@pytest.mark.parametrize("name", ["run.json", "complete.json", "index/00000.json", "shards/00000.parquet"])
def test_a_pipe_in_a_folder_is_not_waited_for(name, tmp_path):
    fuzz.table(tmp_path / "folder", [row for i in range(2) for row in rows_of(i, None, made(("a", "b"), layers=1))])
    (tmp_path / "folder" / name).unlink()
    os.mkfifo(tmp_path / "folder" / name)
    if name == "complete.json":
        assert Folder(tmp_path / "folder").inputs is None
    else:
        with pytest.raises(FileError):
            list(Explanations.load(tmp_path / "folder"))


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_json_deeper_than_python_goes_is_refused(suffix, tmp_path):
    deep = "[" * 100_000 + "]" * 100_000
    header = {"format": serialisation.FORMAT, "version": 1, "content": deep, "sha256": serialisation._digest(deep, {})}
    for k, text in enumerate((deep, json.dumps(header))):
        path = tmp_path / f"{k}{suffix}"
        if suffix == ".npz":
            np.savez(path, pelrp_nb=np.array(text))
        else:
            path.write_bytes(safe_bytes({}, metadata={"pelrp_nb": text}))
        assert fuzz.tried(lambda: Explanation.load(path)) == "refused"  # noqa: B023


WRONG = {
    "tokens": [1, 2], "target": 5, "value": "1", "sinks": [1, 2], "text": 3, "special": ["yes", "no"], "offsets": [[0], None],
    "card": "[1]", "reductions": {"semantic.l2": 1.0}, "streams": {"text": {}}, "word_ids": [0.5, 1.5],
}  # fmt: skip


@pytest.mark.parametrize("field", WRONG)
def test_a_field_of_another_kind_is_refused_though_the_checksum_is_right(field, tmp_path):
    tree = made(("a", "b"), layers=2)._tree()
    serialisation.write(tmp_path / "e.npz", {**tree, field: WRONG[field]})
    with pytest.raises(FileError, match="a part of it does not fit"):
        Explanation.load(tmp_path / "e.npz")


def test_a_missing_tensor_is_named(tmp_path):
    tree = made(("a", "b"), layers=1)._tree()
    serialisation.write(tmp_path / "e.safetensors", {**tree, "semantic": {"tensor": "nowhere"}})
    with pytest.raises(FileError, match="does not fit: 'nowhere'"):
        Explanation.load(tmp_path / "e.safetensors")


def test_an_exchange_whose_places_are_none_of_its_tokens_is_refused(tmp_path):
    tree = {**fuzz.exchanged()._tree(), "places": torch.tensor([0, 1, 9])}
    serialisation.write(tmp_path / "e.npz", {"exchange": tree})
    with pytest.raises(FileError, match="places must be numbers of 3 tokens"):
        Exchange.load(tmp_path / "e.npz")
