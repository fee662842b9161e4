"""README's two pictures, drawn from the figures in `benchmarks/results`: quality after initialisation, steps saved.

Run it as `python benchmarks/pictures.py`.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from hf_xlt.evaluation.curves import Curve
from hf_xlt.report.pictures import plot_learning_curves

RESULTS = Path(__file__).parent / "results"
LANGUAGES = {"de": ("German", "#1f5fa8"), "id": ("Indonesian", "#b8372f"), "yo": ("Yoruba", "#2e8b57")}
ROWS = ("random rows", "overlap only", "subtoken mean", "focus", "wechsel", "dictionary, else overlap", "ramen")
OURS = "pooled"
BASELINES = ("random rows", "from scratch")
DRAWN = ("pooled", "pooled, everything", "RAMEN rows", "WECHSEL", "FOCUS", "CLP")


def main() -> None:
    """Draw both."""
    quality_after_initialization(RESULTS / "quality_after_initialization.png")
    steps_saved(RESULTS / "steps_saved.png")


def quality_after_initialization(path: Path) -> None:
    """Retrieval without any training, by method and language."""
    found = {code: by_method(code) for code in LANGUAGES}
    figure = Figure(figsize=(7.2, 4.4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    rows = [method for method in (*ROWS, OURS) if any(method in measured for measured in found.values())]
    places, height = np.arange(len(rows)), 0.8 / len(LANGUAGES)
    for index, (code, (name, color)) in enumerate(LANGUAGES.items()):
        offset = (index - (len(LANGUAGES) - 1) / 2) * height
        values = [found[code].get(method, np.nan) for method in rows]
        bars = axes.barh(places + offset, values, height=0.9 * height, color=color, label=name)
        axes.bar_label(bars, ["" if np.isnan(value) else f"{value:.0f}" for value in values], padding=2, fontsize=7)
    axes.set_yticks(places, rows)
    axes.invert_yaxis()
    axes.set_xlim(0, 100)
    axes.set_xlabel("sentence retrieval P@1 in per cent, without any training")
    axes.set_title("An English sentence encoder with a new vocabulary")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="x", alpha=0.25)
    axes.set_axisbelow(True)
    axes.legend(frameon=False, loc="lower right", bbox_to_anchor=(1.0, 0.35))
    figure.savefig(path, dpi=150)


def by_method(code: str) -> dict[str, float]:
    """Mean of both directions, of each method with all the evidence there is."""
    results = json.loads((RESULTS / f"zero_training_retrieval_{code}.json").read_text(encoding="utf-8"))["results"]
    most = max(row["pairs"] for row in results)
    return {
        row["method"]: (row["to_english"] + row["from_english"]) / 2 for row in results if row["pairs"] in (0, most)
    }


def steps_saved(path: Path) -> None:
    """Held-out bits per byte of German by training steps."""
    methods = json.loads((RESULTS / "evidence_de.json").read_text(encoding="utf-8"))["methods"]
    curves = {
        name: [Curve.from_dict(methods[name]["curve"])] for name in (*DRAWN, *BASELINES) if "curve" in methods[name]
    }
    plot_learning_curves(curves, BASELINES, "all-MiniLM-L6-v2 learns German", path)


if __name__ == "__main__":
    main()
