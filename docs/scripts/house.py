"""A picture of the house: the layers of the package, and which of them imports which, as the code says."""

import io
import tomllib
from pathlib import Path

import grimp
import networkx
from matplotlib.figure import Figure

ROOT = Path(__file__).resolve().parents[2]


def layers() -> list[list[str]]:
    """The layers from top to bottom, as import-linter holds them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (contract,) = project["tool"]["importlinter"]["contracts"]
    return [[name.strip() for name in layer.split("|")] for layer in contract["layers"]]


def imports() -> networkx.DiGraph:
    """Which part of the package imports which, read from its modules."""
    graph = grimp.build_graph("hf_xlt", cache_dir=None)
    house = networkx.DiGraph()
    house.add_nodes_from(name for layer in layers() for name in layer)
    for module in graph.modules:
        for imported in graph.find_modules_directly_imported_by(module):
            ends = [name.split(".")[1] for name in (module, imported) if name.count(".")]
            if len(ends) == 2 and ends[0] != ends[1] and {*ends} <= {*house}:
                house.add_edge(*ends)
    return house


def picture() -> bytes:
    """SVG: one row a layer; an arrow goes to what is imported, if no longer way of arrows says the same."""
    rows = layers()
    places = {name: (2.2 * (x - (len(row) - 1) / 2), -y) for y, row in enumerate(rows) for x, name in enumerate(row)}
    house = imports()
    shown = networkx.transitive_reduction(house)
    figure = Figure(figsize=(8, 0.62 * len(rows)), layout="constrained")
    axes = figure.subplots()
    axes.set_axis_off()
    axes.set_xlim(-5, 5)
    boxes = {"boxstyle": "round,pad=0.35", "facecolor": "#e8eaf6", "edgecolor": "#3f51b5"}
    for name, (x, y) in places.items():
        axes.text(x, y, name, ha="center", va="center", fontsize=9, color="#1a237e", bbox=boxes, zorder=2)
    for above, below in shown.edges:
        (x, y), (end, down) = places[above], places[below]
        bend = 0 if y - down <= 1 else (0.28 if hash_side(above, below) else -0.28)
        style = {"arrowstyle": "->", "color": "#78909c", "shrinkA": 10, "shrinkB": 10}
        axes.annotate("", (end, down), (x, y), arrowprops=style | {"connectionstyle": f"arc3,rad={bend}"}, zorder=1)
    file = io.BytesIO()
    figure.savefig(file, format="svg", metadata={"Date": None})
    return file.getvalue()


def hash_side(above: str, below: str) -> bool:
    """On which side a long arrow passes the layers between: the same at every build."""
    return (len(above) + len(below)) % 2 == 0
