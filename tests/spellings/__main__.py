"""A table of all spellings: which are explained like their reference and as known, which are not, and why.

python -m tests.spellings [--family NAME] [--only NAME] [--wrong]
"""

from __future__ import annotations

import argparse
import time
import warnings

import torch

from . import GROUPS
from .compare import Account, verdict


def numbers(account: Account | None) -> str:
    """Value, tokens, positions and kinds, in a line."""
    if account is None:
        return "refused"
    kinds = ", ".join(dict.fromkeys(kind for each in account.kinds for kind in each)) or "none"
    sinks = sum(len(p) for p in account.positional)
    return f"value {account.value:+.4f} tokens {account.lines['tokens']:+.4f} positions {account.lines['positions']:+.4f} {sinks} {kinds}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.spellings", description=__doc__)
    parser.add_argument("--family", help="of this family alone")
    parser.add_argument("--only", help="groups or spellings whose name holds this")
    parser.add_argument("--wrong", action="store_true", help="show what is wrong alone")
    asked = parser.parse_args()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    start, wrong, total, by_family = time.perf_counter(), 0, 0, {}
    for (family, name), group in GROUPS.items():
        if asked.family and asked.family != family:
            continue
        for i, spelling in enumerate(group.spellings):
            full = f"{family} / {name} / {spelling.name}"
            if asked.only and asked.only not in full:
                continue
            account, why = verdict(group, spelling)
            total, wrong = total + 1, wrong + bool(why)
            right = by_family.setdefault(family, [0, 0])
            right[0], right[1] = right[0] + (not why), right[1] + 1
            if asked.wrong and not why:
                continue
            print(f"{'wrong' if why else 'right'}  {full}{' (reference)' if i == 0 else ''}\n         {numbers(account)}")
            for reason in why:
                print(f"         - {reason}")
    print("\n".join(["", *(f"{family:<22}{right:>4} of {of:>4} right" for family, (right, of) in by_family.items())]))
    print(f"{wrong} of {total} spellings wrong; {time.perf_counter() - start:.0f} seconds")


if __name__ == "__main__":
    main()
