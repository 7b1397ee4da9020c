"""The tests on the processors that this one can pass for: other instructions sum in another order, and round otherwise.

    python tests/processors.py         the whole suite under every level that the processor has, with one thread and with two
    python tests/processors.py some    every notebook under the oldest level, the tests that compare numbers under the two oldest
    python tests/processors.py avx2/2  the whole suite under one level with two threads; several may be named

A level is set alike for torch's own kernels, for the matrix products of MKL and oneDNN, and for numpy's.
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SWITCHES = ("ATEN_CPU_CAPABILITY", "MKL_ENABLE_INSTRUCTIONS", "ONEDNN_MAX_CPU_ISA", "OPENBLAS_CORETYPE")
LEVELS = {  # the oldest first, each with the value of every switch
    "default": ("default", "SSE4_2", "SSE41", "Nehalem"),
    "avx2": ("avx2", "AVX2", "AVX2", "Haswell"),
    "avx512": ("avx512", "AVX512", "AVX512_CORE", "SkylakeX"),
}
NOTEBOOKS = ("--nbval", "--nbval-current-env", "--nbval-sanitize-with", "tutorials/sanitize.cfg", "tutorials")
COMPARES = re.compile(r"^from (tolerance|shapes) import .*\b(assert_same|rounding|same_answer)\b", re.MULTILINE)


def had() -> list[str]:
    """The levels of this processor, the oldest first."""
    asked = "import torch; print(torch.backends.cpu.get_cpu_capability().lower())"
    newest = subprocess.run([sys.executable, "-c", asked], env=unset(), text=True, capture_output=True, check=True).stdout.strip()
    names = list(LEVELS)
    return names[: names.index(newest) + 1] if newest in names else ["default"]


def unset() -> dict[str, str]:
    """The environment without any level."""
    return {name: value for name, value in os.environ.items() if name not in (*SWITCHES, "MKL_CBWR")}


def environment(level: str, threads: int) -> dict[str, str]:
    """What the tests run in."""
    fixed = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    fixed["OMP_WAIT_POLICY"] = "PASSIVE"  # threads that wait leave the processor to the other tests
    fixed["PYTHONDONTWRITEBYTECODE"] = ""  # else each of the many processes compiles the package again
    if level == "default" and "Intel" not in processor():
        fixed["MKL_CBWR"] = "COMPATIBLE"  # MKL heeds the other switch on Intel's processors alone
    return {**unset(), **fixed, **dict(zip(SWITCHES, LEVELS[level], strict=True))}


def processor() -> str:
    """Who made it."""
    about = Path("/proc/cpuinfo")
    return about.read_text(encoding="utf-8").split("\n\n")[0] if about.exists() else platform.processor()


def comparing() -> list[str]:
    """The files of tests that compare numbers up to rounding."""
    return [str(path) for path in sorted(ROOT.glob("tests/test_*.py")) if COMPARES.search(path.read_text(encoding="utf-8"))]


def passed(level: str, threads: int, what: str, *asked: str) -> bool:
    """Run some tests under a level; say how it went."""
    began = time.monotonic()
    command = [sys.executable, "-m", "pytest", "-q", "-n", str(os.cpu_count() or 1), "--dist", "loadscope"]
    command += ["-p", "no:cacheprovider", *asked]
    print(f"{what} under {level}, {threads} thread{'s' * (threads > 1)}", flush=True)
    code = subprocess.run(command, cwd=ROOT, env=environment(level, threads)).returncode
    print(f"{what} under {level}: {'green' if code == 0 else 'RED'} after {time.monotonic() - began:.0f} s\n", flush=True)
    return code == 0


def main(asked: list[str]) -> int:
    levels = had()
    runs = {f"{level}/{threads}": (level, threads, "the whole suite", *NOTEBOOKS, "tests") for level in levels for threads in (1, 2)}
    if unknown := [one for one in asked if one != "some" and one not in runs]:
        print(f"This processor has {', '.join(runs)}; got {', '.join(unknown)}. Type some, or one of these.")
        return 2
    for level in LEVELS:
        if level not in levels:
            print(f"{level} is not run: this processor has no such instructions")
    chosen = [runs[one] for one in asked if one in runs] or list(runs.values())
    if "some" in asked:
        chosen = [(levels[0], 1, "every notebook", *NOTEBOOKS)]
        chosen += [(level, t, "what compares numbers", *comparing()) for level, t in zip(levels[:2], (2, 1), strict=False)]
    results = [passed(*run) for run in chosen]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
