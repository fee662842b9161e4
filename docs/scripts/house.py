"""A picture of the house: the parts of the package, and which of them imports which, as the code says."""

import io
import tomllib
from pathlib import Path

import grimp
import networkx
from matplotlib.figure import Figure

ROOT = Path(__file__).resolve().parents[2]


def parts() -> list[str]:
    """The parts of the package from top to bottom, as import-linter holds them in layers."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (contract,) = project["tool"]["importlinter"]["contracts"]
    return [name.strip() for layer in contract["layers"] for name in layer.split("|")]


def imports() -> networkx.DiGraph:
    """Which part of the package imports which, read from its modules."""
    modules = grimp.build_graph("hf_xlt", cache_dir=None)
    house = networkx.DiGraph()
    house.add_nodes_from(parts())
    for importer in modules.modules:
        for imported in modules.find_modules_directly_imported_by(importer):
            ends = [name.split(".")[1] for name in (importer, imported) if "." in name]
            if len(ends) == 2 and ends[0] != ends[1] and {*ends} <= {*house}:
                house.add_edge(*ends)
    return house


def picture() -> bytes:
    """SVG: arrows go down to what is imported; one that follows from a longer way of arrows is left out."""
    shown = networkx.transitive_reduction(imports())
    places = _places(shown)
    figure = Figure(figsize=(8, 0.8 * (1 - min(y for _, y in places.values()))))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    networkx.draw_networkx_edges(
        shown, places, ax=axes, edge_color="#78909c", arrowsize=9, node_size=900, connectionstyle="arc3,rad=0.06"
    )
    box = {"boxstyle": "round,pad=0.35", "facecolor": "#e8eaf6", "edgecolor": "#3f51b5"}
    networkx.draw_networkx_labels(shown, places, ax=axes, font_size=9, font_color="#1a237e", bbox=box)
    axes.margins(0.1, 0.05)
    file = io.BytesIO()
    figure.savefig(file, format="svg", metadata={"Date": None})
    return file.getvalue()


def _places(shown: networkx.DiGraph) -> dict[str, tuple[float, float]]:
    """A row for each generation; within it, a part stands as near as it can to what imports it."""
    places: dict[str, tuple[float, float]] = {}
    for depth, row in enumerate(networkx.topological_generations(shown)):
        above = {part: [places[importer][0] for importer in shown.predecessors(part)] for part in row}
        ordered = sorted(row, key=lambda part: (sum(above[part]) / len(above[part]) if above[part] else 0.0, part))
        places |= {part: (place - (len(row) - 1) / 2, -depth) for place, part in enumerate(ordered)}
    return places
