"""The pins of `constraints.txt` with the hashes of their files, for every system: `make hashes`, after a pin has changed.

`hashes/package.txt` is what the package needs, `hashes/everything.txt` what its extras need too, the build's tools among them. An install
from them takes no file that was not published when they were made:

    python -m pip install --require-hashes -r hashes/package.txt
    python -m pip install --no-deps .
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HASHES = ROOT / "hashes"
ASKED = {"everything": ["--all-extras"], "package": []}  # the wide one first: the other takes its pins
HEADER = "# Generated from constraints.txt and pyproject.toml; do not edit, type: make hashes\n"
# Builds of torch that its own index has beside those of the package index, without CUDA: as published, for the Pythons that are tested.
WITHOUT_CUDA = """
6746dbcbeb526eb61330b76b41ff1b4eb848951103a892eeb080dfa2b264667b  torch-2.13.0+cpu-cp311-cp311-manylinux_2_28_x86_64.whl
84453b69508ec79902f899c5ed9495acb9e2bbe9fda5f1d5d6f19e3c3842e1a7  torch-2.13.0+cpu-cp311-cp311-manylinux_2_28_aarch64.whl
10717d8b3b67c45a4788bf7ffc0bab1ea1e5ebbedd24466be6100102d141fac1  torch-2.13.0+cpu-cp311-cp311-win_amd64.whl
4ca4a9394b0c771238a4f73590fdbbc4debad85ed0fa63d026ae1b085da7d6e2  torch-2.13.0+cpu-cp312-cp312-manylinux_2_28_x86_64.whl
6f307c2c32d764ffc6ff6893b801fad6d4752f3e67966cb8abf1843427c02604  torch-2.13.0+cpu-cp312-cp312-manylinux_2_28_aarch64.whl
a8b450c1e58e5800e5b4691dac412f8d2d65a1dc3298166f91596603a3531e6f  torch-2.13.0+cpu-cp312-cp312-win_amd64.whl
3fbf9c9d1f3c10c2d59d04aca426dee9ccc6ceb32d255c61e93acc3b4f75fae6  torch-2.13.0+cpu-cp313-cp313-manylinux_2_28_x86_64.whl
0b8f7d0423027ae8b90c7977c627f3379f325363a08224dffad9b4b2d684a83d  torch-2.13.0+cpu-cp313-cp313-manylinux_2_28_aarch64.whl
a17ff48608634db245e17e8bb00a9558554a49aeb1e4f5fe6cd039af2a10515b  torch-2.13.0+cpu-cp313-cp313-win_amd64.whl
"""


def compiled(extras: list[str], pins: str) -> str:
    """All pins with their hashes, as the index has them; what no constraint names keeps the pin given, if there is one."""
    what = ["pip", "compile", "--quiet", "--universal", "--python-version", "3.11.5", "--generate-hashes", "--no-annotate", "--no-header"]
    with tempfile.TemporaryDirectory() as temporary:
        out = Path(temporary) / "pins.txt"
        out.write_text(pins, encoding="utf-8")
        command = [sys.executable, "-m", "uv", *what, *extras, "-c", "constraints.txt", "pyproject.toml", "-o", str(out)]
        subprocess.run(command, cwd=ROOT, check=True)
        return out.read_text(encoding="utf-8")


def with_builds(pinned: str) -> str:
    """The builds of torch without CUDA are taken as well as those of the package index."""
    builds = [line.split() for line in WITHOUT_CUDA.strip().splitlines()]
    (version,) = {name.split("-")[1].removesuffix("+cpu") for _, name in builds}
    entry = f"\ntorch=={version} \\\n"
    if entry not in pinned:
        raise SystemExit(f"torch is no longer pinned to {version}: WITHOUT_CUDA in {__file__} has to list the builds of the new version.")
    return pinned.replace(entry, entry + "".join(f"    --hash=sha256:{digest} \\\n" for digest, _ in builds))


def main() -> None:
    """Both files; a pin that no constraint names is the same in both."""
    everything = HASHES / "everything.txt"
    for name, extras in ASKED.items():
        before = everything.read_text(encoding="utf-8") if everything.exists() else ""
        pins = "\n".join(re.findall(r"^[\w.-]+==[^\\\n]+", before, re.MULTILINE))
        (HASHES / f"{name}.txt").write_text(HEADER + with_builds(compiled(extras, pins)), encoding="utf-8")


if __name__ == "__main__":
    main()
