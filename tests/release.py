"""A release, made and tried as a stranger would: `make release`.

The wheel and the source archive are built twice and compared, checked for the index, and the wheel is installed into a new
environment outside the checkout: its dependencies first, each a file of a known hash, the package after them and without
them. There a first cell, `doctor()`, `labs open 00`, an explanation and its page are run.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
STRANGER = """
import sys
from pathlib import Path
import pelrp_nb
from pelrp_nb import labs
assert "site-packages" in pelrp_nb.__file__, pelrp_nb.__file__
print(labs.start("00", pelrp_nb.__version__))
print(report := pelrp_nb.doctor())
assert report.healthy
model, tokenizer = pelrp_nb.zoo.load("reviews-rotary")
found = pelrp_nb.explain(model, "a gorgeous , witty film", processor=tokenizer)
print(found)
assert found.ledger.state == "closed"
found.to_html("page.html")
assert Path("page.html").stat().st_size < 220 * 1024, "a page of one review"
"""


def say(what: str) -> None:
    """One line of what is being done."""
    print(what, flush=True)


def built(folder: Path) -> dict[str, str]:
    """Wheel and source archive built into a folder: their names and hashes."""
    for kind in ("sdist", "wheel"):
        subprocess.run(
            [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(folder)], cwd=ROOT, check=True, capture_output=True
        )
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def stranger(wheel: Path, place: Path, python: str) -> None:
    """The wheel in a new environment, used in a folder that knows nothing of the checkout."""
    there = place / "environment"
    if python == sys.executable:
        venv.create(there, with_pip=True)
    else:
        subprocess.run([python, "-m", "venv", str(there)], check=True)
    run = [str(there / ("Scripts" if os.name == "nt" else "bin") / "python")]
    pip = [*run, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    settings = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {"HF_HUB_OFFLINE": "1"}

    def do(command: list[str]) -> None:
        subprocess.run(command, cwd=place, env=settings, check=True)

    say("dependencies, pinned by the hashes of their files ...")
    do([*pip, "--require-hashes", "-r", str(ROOT / "hashes" / "package.txt")])
    do([*pip, "--no-deps", str(wheel)])
    say("first cell, doctor, an explanation, its page ...")
    do([*run, "-W", "error::SyntaxWarning", "-c", STRANGER])
    do([*run, "-m", "pelrp_nb", "labs", "open", "00", "--only-copy"])
    assert (place / "pelrp_nb-tutorials" / "00_quickstart.ipynb").is_file()
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    say("the README's code ...")
    do([*run, "-c", "\n".join(re.findall(r"^```python\n(.*?)^```$", readme, re.DOTALL | re.MULTILINE))])


def main(python: str = sys.executable) -> int:
    """Build twice, compare, check, install, use; 0 if all of it holds."""
    shutil.rmtree(ROOT / "dist", ignore_errors=True)
    with tempfile.TemporaryDirectory() as temporary:
        once, again = built(ROOT / "dist"), built(Path(temporary) / "again")
        for name, found in once.items():
            say(f"{found}  {name}")
        if once != again:
            say(f"two builds differ: {again}")
            return 1
        say("twice the same")
        subprocess.run([sys.executable, "-m", "twine", "check", "--strict", *map(str, sorted((ROOT / "dist").iterdir()))], check=True)
        place = Path(temporary) / "stranger"
        place.mkdir()
        stranger(next((ROOT / "dist").glob("*.whl")), place, python)
    say("a stranger can use it")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2]))
