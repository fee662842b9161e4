"""How long the first contact takes: importing the package, help, the version.

Each is timed in fresh processes beside `python -c pass` and `python -c "import torch"`, in turns; figures are medians.

    python benchmarks/first_impressions.py --json results.json
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Annotated

import typer

YARDSTICKS = {"pass": ["-c", "pass"], "import torch": ["-c", "import torch"]}
MEASURED = {
    "import hf_xlt": ["-c", "import hf_xlt"],
    "hf-xlt --version": ["-m", "hf_xlt", "--version"],
    "hf-xlt --help": ["-m", "hf_xlt", "--help"],
    "hf-xlt initialize --help": ["-m", "hf_xlt", "initialize", "--help"],
    "hf-xlt run --help": ["-m", "hf_xlt", "run", "--help"],
}
ALLOWED = {"import hf_xlt": 0.3, "hf-xlt --help": 0.7}


def main(
    rounds: Annotated[int, typer.Option(help="How often each is run.", min=1)] = 5,
    output: Annotated[Path | None, typer.Option("--json", help="File for the figures.")] = None,
) -> None:
    """Measure, and print a line for each."""
    asked = YARDSTICKS | MEASURED
    seconds: dict[str, list[float]] = {name: [] for name in asked}
    for _ in range(rounds):
        for name, words in asked.items():
            began = time.perf_counter()
            subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL, env=os.environ)
            seconds[name].append(time.perf_counter() - began)
    typical = {name: median(times) for name, times in seconds.items()}
    figures = {}
    for name in MEASURED:
        ratios = {f"of {yardstick}": round(typical[name] / typical[yardstick], 2) for yardstick in YARDSTICKS}
        figures[name] = {"seconds": round(typical[name], 3), "allowed": ALLOWED.get(name), **ratios}
        print(f"{name:25} {typical[name]:6.3f} s, {ratios['of import torch']:5.2f} × import torch")
    if output is not None:
        yardsticks = {name: round(typical[name], 3) for name in YARDSTICKS}
        output.write_text(json.dumps({"seconds": yardsticks, "measured": figures}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
