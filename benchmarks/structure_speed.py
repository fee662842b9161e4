r"""Cross-lingual structure at full size: time and memory of CKA, alignment and retrieval, in one run.

    python benchmarks/structure_speed.py --json structure_speed.json

States are random: those of the second model are the first's, turned by a rotation of each layer's own, with as much
noise again and a mean of their own. Time is that of `Level.of`: CKA of all pairs of layers with its debiased variant,
and for each layer P@1 by cosine and CSLS in both directions, unaligned, after the orthogonal map and after least
squares. Its parts are timed beside it. Memory is the peak of the whole process, states included; the models that make
the states are not part of it. Agreement is with plain dense numpy in float64, on a small case of the same making.
"""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from torch import Tensor

from hf_xlt.evaluation.structure import Level
from hf_xlt.evaluation.structure.cka import cka_map
from hf_xlt.evaluation.structure.structure import MAPS, paired_layers, precision

TARGETS = {"seconds": 60.0, "peak memory, GB": 2.0, "largest difference from dense numpy": 1e-5}
SMALL = (300, 3, 48)
MEAN = 3.0


def rotation(width: int, draw: torch.Generator) -> Tensor:
    return torch.linalg.qr(torch.randn(width, width, generator=draw))[0]


def states(pairs: int, layers: int, width: int) -> tuple[Tensor, Tensor]:
    """States `(layers, pairs, width)` of two models, made in place."""
    draw = torch.Generator().manual_seed(0)
    a, b = torch.empty(2, layers, pairs, width).unbind(0)
    for of_a, of_b in zip(a, b, strict=True):
        of_a.normal_(generator=draw)
        torch.matmul(of_a, rotation(width, draw), out=of_b)
        of_b += torch.randn(of_b.shape, generator=draw)
        of_b += MEAN * torch.randn(width, generator=draw)
    return a, b


def test_part(pairs: int, share: float) -> Tensor:
    return torch.randperm(pairs, generator=torch.Generator().manual_seed(1)) < round(share * pairs)


def resident(field: str) -> float:
    """`VmRSS` (now) or `VmHWM` (peak) of this process in GB (Linux)."""
    line = next(li for li in Path("/proc/self/status").read_text().splitlines() if li.startswith(field))
    return int(line.split()[1]) * 1024 / 1e9


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def parts(a: Tensor, b: Tensor, test: Tensor) -> dict[str, float]:
    """Seconds of each part of `Level.of`; of the maps over all layers."""
    learn = ~test
    times = {"CKA": seconds(lambda: cka_map(a, b))}
    for name, fit in MAPS.items():
        times[f"{name} maps"] = seconds(lambda fit=fit: [fit(x[learn], y[learn]) for x, y in zip(a, b, strict=True)])
    retrieve = seconds(lambda: [precision(x[test], y[test]) for x, y in zip(a, b, strict=True)])
    return times | {"retrieval, of one of three": retrieve}


def dense_cka(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """CKA and its debiased variant from whole kernels."""
    n = len(x)
    centre = np.eye(n) - 1 / n
    plain = [np.trace(k @ centre @ m @ centre) for k, m in ((x @ x.T, y @ y.T), (x @ x.T, x @ x.T), (y @ y.T, y @ y.T))]

    def unbiased(k: np.ndarray, m: np.ndarray) -> float:
        k, m = k - np.diag(k.diagonal()), m - np.diag(m.diagonal())
        total = np.trace(k @ m) + k.sum() * m.sum() / ((n - 1) * (n - 2)) - 2 / (n - 2) * (k @ m).sum()
        return total / (n * (n - 3))

    debiased = [unbiased(k, m) for k, m in ((x @ x.T, y @ y.T), (x @ x.T, x @ x.T), (y @ y.T, y @ y.T))]
    cka, cka_debiased = (cross / (of_x * of_y) ** 0.5 for cross, of_x, of_y in (plain, debiased))
    return float(cka), float(cka_debiased)


def dense_precisions(x: np.ndarray, y: np.ndarray, test: np.ndarray) -> list[float]:
    """P@1 unaligned, after the orthogonal map and after least squares: cosine and CSLS, in both directions."""
    left, _, right = np.linalg.svd(x[~test].T @ y[~test])
    squares = np.linalg.lstsq(x[~test], y[~test], rcond=None)[0]
    found = []
    for mapped in (x[test], x[test] @ left @ right, x[test] @ squares):
        cosines = mapped @ y[test].T
        cosines /= np.linalg.norm(mapped, axis=1)[:, None] * np.linalg.norm(y[test], axis=1)
        near = [np.sort(cosines, axis=axis) for axis in (0, 1)]
        csls = 2 * cosines - near[0][-10:].mean(0) - near[1][:, -10:].mean(1, keepdims=True)
        own = np.arange(len(mapped))
        found += [float((scores.argmax(axis) == own).mean()) for scores in (cosines, csls) for axis in (1, 0)]
    return found


def largest_difference(share: float) -> float:
    a, b = states(SMALL[0], *SMALL[1:])
    test = test_part(SMALL[0], share)
    level, differences = Level.of(a, b, test), []
    for i, x in enumerate(a.double().numpy()):
        for j, y in enumerate(b.double().numpy()):
            plain, debiased = dense_cka(x, y)
            differences += [abs(level.cka[i][j] - plain), abs(level.debiased_cka[i][j] - debiased)]
    for i, j in paired_layers(len(a), len(b)):
        found = [level.precision[way][i] for way in ("unaligned", *MAPS)]
        ours = [value for way in found for by in (way.cosine, way.csls) for value in (by.forward, by.backward)]
        dense = dense_precisions(a[i].double().numpy(), b[j].double().numpy(), test.numpy())
        differences += np.abs(np.subtract(ours, dense)).tolist()
    return max(differences)


def main(
    pairs: Annotated[int, typer.Option(help="Sentence pairs.")] = 10_000,
    layers: Annotated[int, typer.Option(help="Layers of either model, the embeddings included.")] = 13,
    width: int = 768,
    test_share: float = 0.2,
    threads: int = 2,
    json_path: Annotated[Path | None, typer.Option("--json", help="Also write the figures here.")] = None,
) -> None:
    torch.set_num_threads(threads)
    print(f"{pairs:,} pairs x {layers} layers x {width}, {threads} threads; {test_share:.0%} of the pairs for testing")
    figures = {"largest difference from dense numpy": largest_difference(test_share)}
    a, b = states(pairs, layers, width)
    test = test_part(pairs, test_share)
    figures["memory before, states included, GB"] = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # sets the peak back to the present
    figures["seconds"] = seconds(lambda: Level.of(a, b, test))
    figures["peak memory, GB"] = resident("VmHWM")
    figures |= {f"seconds, {name}": value for name, value in parts(a, b, test).items()}
    for name, value in figures.items():
        target = TARGETS.get(name)
        verdict = "" if target is None else f"   <= {target:g}: {'met' if value <= target else 'MISSED'}"
        print(f"{name:50} {value:10.3g}{verdict}")
    if json_path:
        shape = {"pairs": pairs, "layers": layers, "width": width, "threads": threads, "test share": test_share}
        json_path.write_text(json.dumps(shape | figures, indent=2) + "\n")


if __name__ == "__main__":
    typer.run(main)
