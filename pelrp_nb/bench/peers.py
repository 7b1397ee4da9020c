"""`bench peers`: what others take for the same explanation, and whether their numbers are ours.

Each arm is a process of its own, in rounds, with the Python and the folders that it is given; the same random model and the same
tokens are made in each.  What is not installed is left out by name.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from ..errors import InputError
from .peer import ARMS

SCRIPT = Path(__file__).with_name("peer.py")
HOME = SCRIPT.parent.parent.parent  # so that our own arm runs this package, installed or not


def peers(argv: list[str] | None = None) -> int:
    """`bench peers`: lxt, autoLRP and captum beside this package, each in a process of its own."""
    parser = argparse.ArgumentParser(prog="python -m pelrp_nb bench peers", description=peers.__doc__)
    parser.add_argument("--only", default=",".join(n for n in ARMS if "," not in n), metavar="NAMES", help="some of " + ", ".join(ARMS))
    parser.add_argument("--path", action="append", default=[], metavar="NAME=FOLDER", help="a folder that an arm imports from")
    parser.add_argument("--python", action="append", default=[], metavar="NAME=PROGRAM", help="the Python of an arm's own environment")
    parser.add_argument("--rounds", type=int, default=3, help="alternating rounds (3)")
    parser.add_argument("--runs", type=int, default=2, help="runs of each process in a round, after one that does not count (2)")
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--tokens", type=int, default=512)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(argv)
    arms = [*dict.fromkeys(["plain", "pelrp_nb", "pelrp_nb, ledger", *filter(None, given.only.split(","))])]
    if unknown := [name for name in arms if name not in ARMS]:
        raise InputError(f"A peer must be one of {', '.join(ARMS)}; got {', '.join(unknown)}. Type --only lxt,captum.")
    found = measured(arms, given)
    print(json.dumps(found)) if given.json else report(found, given)
    return 0


def measured(arms: list[str], given: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """What each arm says of itself, its smallest seconds over all rounds."""
    paths, programs = by_name(given.path, "--path lxt=FOLDER"), by_name(given.python, "--python lxt=PROGRAM")
    found: dict[str, dict[str, Any]] = {}
    for _ in range(given.rounds):
        for arm in arms:
            if "missing" in found.get(arm, ()):
                continue
            folders = [*paths.get(arm, ()), *([str(HOME)] if arm.startswith("pelrp_nb") else [])]
            said = asked(arm, programs.get(arm, [sys.executable])[-1], folders, given)
            if arm in found and "seconds" in said:
                said["seconds"] = min(said["seconds"], found[arm]["seconds"])
            found[arm] = said
    return found


def by_name(given: list[str], wanted: str) -> dict[str, list[str]]:
    """`lxt=FOLDER` as what belongs to each arm."""
    found: dict[str, list[str]] = {}
    for one in given:
        name, sign, value = one.partition("=")
        if not sign or name not in ARMS:
            raise InputError(f"It must name an arm ({', '.join(ARMS)}) and what it gets, got {one!r}. Type {wanted}.")
        found.setdefault(name, []).append(value)
    return found


def asked(arm: str, program: str, folders: list[str], given: argparse.Namespace) -> dict[str, Any]:
    """One process of an arm: what it prints last; what it lacks, or why it failed, under "missing"."""
    command = [program, "-P", str(SCRIPT), arm]  # -P: the files beside the script are none of its modules
    for name in ("layers", "width", "tokens", "runs"):
        command += [f"--{name}", str(getattr(given, name))]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(folders)})
    lines = done.stdout.strip().splitlines() if not done.returncode else []
    return json.loads(lines[-1]) if lines else {"missing": (done.stderr.strip().splitlines() or ["it printed nothing"])[-1]}


def report(found: dict[str, dict[str, Any]], given: argparse.Namespace) -> None:
    """Seconds over plain's, and how the relevance of the tokens compares with that of AttnLRP by this package."""
    print(f"random Llama, width {given.width}, {given.layers} layers, {given.tokens} tokens, float32, sdpa, one thread")
    print(f"{'arm':<18}{'time':>7}{'apart':>10}{'correlation':>13}   what")
    mine = torch.tensor(found["pelrp_nb"]["relevance"], dtype=torch.float64)
    for arm, said in found.items():
        what = str(ARMS[arm].__doc__).splitlines()[0]
        if "missing" in said:
            print(f"{arm:<18}{'-':>7}{'-':>10}{'-':>13}   left out: {said['missing']}")
            continue
        theirs = torch.tensor(said["relevance"], dtype=torch.float64)
        apart = float((theirs - mine).abs().max() / mine.abs().max())
        alike = float(torch.corrcoef(torch.stack([theirs, mine]))[0, 1])
        ratio = said["seconds"] / found["plain"]["seconds"]
        print(f"{arm:<18}{ratio:>7.3f}{apart:>10.1e}{alike:>13.4f}   {what}")
    by: dict[str, list[str]] = {}
    for arm, said in found.items():
        by.setdefault(", ".join(f"{name} {version}" for name, version in said.get("versions", {}).items()), []).append(arm)
    print("\n".join(f"{'; '.join(arms)}: {versions}" for versions, arms in by.items() if versions))
