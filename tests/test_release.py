"""What a release is made of: pins that agree, workflows pinned and valid, a wheel with all that is promised (`make release`)."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml
from hashes import WITHOUT_CUDA
from packaging.requirements import Requirement

import pelrp_nb
from pelrp_nb.labs.binder import ON_PYPI, pins
from pelrp_nb.labs.notebooks import REPOSITORY

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
CONSTRAINTS = dict(re.findall(r"^([\w.-]+)==([\w.]+)", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE))


def plain(name: str) -> str:
    """A package's name as the index compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


PINNED = {plain(name): version for name, version in CONSTRAINTS.items()}


def test_the_version_is_said_once_and_the_same():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    news = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)[1]
    assert PROJECT["version"] == pelrp_nb.__version__ == cited["version"] == news


def test_the_address_is_that_of_the_badges():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert PROJECT["urls"]["Repository"] == cited["repository-code"] == f"https://github.com/{REPOSITORY}"


def test_binder_brings_all_that_is_needed_in_the_tested_versions():
    """Its image installs the package without dependencies, so the list must hold each of them."""
    there = dict(pin.split("==") for pin in pins(ROOT / "binder" / "environment.yml"))
    asked = [Requirement(line) for line in PROJECT["dependencies"]]
    assert {plain(line.name) for line in asked} <= {plain(name) for name in there}
    assert {name: PINNED[plain(name)] for name in there} == there
    assert set(ON_PYPI.values()) <= set(there)


@pytest.mark.parametrize(
    "what", [*PROJECT["dependencies"], *(line for lines in PROJECT["optional-dependencies"].values() for line in lines)]
)
def test_a_pin_is_within_its_range(what):
    asked = Requirement(what)
    assert asked.specifier.contains(PINNED[plain(asked.name)])


def test_the_conda_recipe_asks_for_what_the_project_asks_for():
    """The same ranges by the names that conda-forge has, the same version, words, address and build backend."""
    recipe = yaml.safe_load((ROOT / "recipe" / "meta.yaml").read_text(encoding="utf-8"))
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    run = dict(line.split() for line in recipe["requirements"]["run"])
    names = {**ON_PYPI, "pytorch": "torch"}
    asked = {Requirement(f"{names.get(name, name)} {limits}") for name, limits in run.items() if name != "python"}
    assert asked == {Requirement(line) for line in PROJECT["dependencies"]}
    assert run["python"] == PROJECT["requires-python"]
    assert {name for name in recipe["requirements"]["host"] if name.startswith("hatchling")} == {
        line.replace("==", " ==") for line in pyproject["build-system"]["requires"]
    }
    assert recipe["package"] == {"name": PROJECT["name"], "version": PROJECT["version"]}
    assert recipe["build"]["entry_points"] == [f"{name} = {what}" for name, what in PROJECT["scripts"].items()]
    about = recipe["about"]
    assert (about["home"], about["license"], about["summary"]) == (
        PROJECT["urls"]["Repository"],
        PROJECT["license"],
        PROJECT["description"],
    )
    assert (ROOT / "recipe" / recipe["source"]["path"]).resolve() == ROOT and (ROOT / about["license_file"]).is_file()


def hashed(name: str) -> dict[str, tuple[str, set[str]]]:
    """The entries of a file of hashes: package -> its version, and the hashes of its files."""
    text = (ROOT / "hashes" / f"{name}.txt").read_text(encoding="utf-8")
    entries = re.findall(r"^([\w.-]+)==(\S+)(?: ;[^\n]*?)? \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", text, re.MULTILINE)
    assert sum(len(lines.splitlines()) + 1 for *_, lines in entries) == len(text.splitlines()) - 1, "lines of another kind"
    return {plain(package): (version, set(re.findall(r"[0-9a-f]{64}", lines))) for package, version, lines in entries}


def test_every_pin_has_the_hashes_of_its_files_and_no_other_version():
    found = hashed("everything")
    assert {name: found[name][0] for name in PINNED} == PINNED
    for_other_systems = r"appnope|colorama|pywin.*|nvidia-.*|cuda-.*|triton|setuptools|httpx2-jsfetch"
    assert all(re.fullmatch(for_other_systems, name) for name in found.keys() - PINNED.keys())


def test_the_hashes_of_the_package_are_those_of_everything():
    found, everything = hashed("package"), hashed("everything")
    assert {plain(Requirement(line).name) for line in PROJECT["dependencies"]} <= found.keys()
    assert {name: everything[name] for name in found} == found


def test_torch_may_come_with_cuda_or_without():
    """The builds of the package index, and those without CUDA of Linux and Windows for the Pythons that are tested."""
    digests = dict(reversed(line.split()) for line in WITHOUT_CUDA.strip().splitlines())
    assert {re.search(r"cp3\d+", name)[0] for name in digests} == {"cp311", "cp312", "cp313"}
    version, found = hashed("package")["torch"]
    assert all(f"-{version}+cpu-" in name for name in digests)
    assert set(digests.values()) < found and len(found) >= 2 * len(digests)


def test_the_oldest_versions_that_are_tried_are_those_that_are_promised():
    floors = dict(re.findall(r"^([\w.-]+)==([\w.]+)", (ROOT / "floors.txt").read_text(encoding="utf-8"), re.MULTILINE))
    bounds = {line.split(">=")[0]: line.split(">=")[1].split(",")[0] for line in PROJECT["dependencies"]}
    assert floors.keys() >= bounds.keys() - {"packaging"}
    assert not {name for name, version in floors.items() if not f"{version}.".startswith(f"{bounds[name]}.")}


def test_what_builds_the_package_is_pinned():
    asked = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["build-system"]["requires"]
    assert asked == [f"hatchling=={PINNED['hatchling']}"]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_trusts_nothing_that_can_move(path):
    """Each foreign action is named by the hash of a commit with its version beside it, and rights are given job by job."""
    text = path.read_text(encoding="utf-8")
    used = re.findall(r"uses: *(\S+)(.*)$", text, re.MULTILINE)
    assert used and all(re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", name) and re.match(r" +# v\d", said) for name, said in used)
    assert yaml.safe_load(text)["permissions"] == {}


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_is_one_by_the_published_schema(path):
    done = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows", str(path)],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_workflows_call_what_the_makefile_has():
    targets = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)[1].split()
    called = {name for path in WORKFLOWS for name in re.findall(r"run: make ([a-z]+)", path.read_text(encoding="utf-8"))}
    assert called and called <= set(targets)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The wheel and the source archive, made twice as `make wheel` makes them."""
    folders = [tmp_path_factory.mktemp(name) for name in ("once", "again")]
    for folder in folders:
        for kind in ("sdist", "wheel"):
            subprocess.run(
                [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(folder)], cwd=ROOT, check=True, capture_output=True
            )
    return [sorted(folder.iterdir()) for folder in folders]


def test_two_builds_are_the_same_to_the_byte(built):
    once, again = built
    assert [path.name for path in once] == [path.name for path in again] and len(once) == 2
    assert [path.read_bytes() for path in once] == [path.read_bytes() for path in again]


def test_the_wheel_holds_what_is_promised_and_nothing_large(built):
    (wheel,) = (path for path in built[0] if path.suffix == ".whl")
    with zipfile.ZipFile(wheel) as archive:
        sizes = {entry.filename: entry.file_size for entry in archive.infolist()}
    assert {f"pelrp_nb/labs/masters/{path.name}" for path in (ROOT / "tutorials").glob("[0-9]*.ipynb")} <= set(sizes)
    assert {"pelrp_nb/py.typed", "pelrp_nb/zoo/models/reviews-rotary/model.safetensors"} <= set(sizes)
    assert max(sizes.values()) < 3 * 2**20
    assert not [name for name in sizes if re.search(r"(^|/)tests?/|__pycache__|\.pyc$", name)]
