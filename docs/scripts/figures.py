"""Tables and pictures of the documentation, made from the measurements in `benchmarks/results`."""

import io
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

RESULTS = Path(__file__).resolve().parents[2] / "benchmarks" / "results"
LANGUAGES = {"de": "German", "id": "Indonesian", "zh": "Chinese", "yo": "Yoruba"}
NONE = "–"


def results(name: str) -> Any:
    """What a benchmark has measured."""
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table whose first column is text and whose other columns are numbers."""
    lines = [header, ["---", *["--:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def start_retrieval(*methods: str) -> str:
    """Sentence retrieval of all-MiniLM-L6-v2 by method and language, before any training, with all pairs."""
    languages = ("de", "id", "yo")
    rows = []
    for method in methods:
        cells = []
        for language in languages:
            found = [
                row for row in results(f"zero_training_retrieval_{language}")["results"] if row["method"] == method
            ]
            best = max(found, key=lambda row: row["pairs"])
            cells.append(f"{best['to_english']:.1f} / {best['from_english']:.1f}")
        rows.append([method, *cells])
    return table(["P@1 to English / from English, %", *(LANGUAGES[language] for language in languages)], rows)


def _pairs(language: str, method: str) -> list[tuple[int, float]]:
    """Number of translation pairs → mean P@1 of both directions."""
    rows = [row for row in results(f"zero_training_retrieval_{language}")["results"] if row["method"] == method]
    return sorted((row["pairs"], (row["to_english"] + row["from_english"]) / 2) for row in rows)


def pairs() -> str:
    """Sentence retrieval by the number of translation pairs, mean of both directions."""
    languages = ("de", "id", "yo")
    rows = []
    for method in ("ramen", "pooled"):
        curves = {language: _pairs(language, method) for language in languages}
        for place, (count, _) in enumerate(curves["de"]):
            last = place == len(curves["de"]) - 1
            given = "all pairs" if last else f"{count:,} pairs"
            rows.append([f"`{method}`, {given}", *(f"{curves[language][place][1]:.1f}" for language in languages)])
    without = "pooled without parallel text"
    rows.insert(0, ["`pooled`, no pairs", *(f"{_pairs(language, without)[0][1]:.1f}" for language in languages)])
    return table(["P@1, %, mean of both directions", *(LANGUAGES[language] for language in languages)], rows)


def pairs_picture() -> bytes:
    """The same as curves, SVG: `pooled` is solid and `ramen` is dashed."""
    figure = Figure(figsize=(7, 3.6), layout="constrained")
    axes = figure.subplots()
    for color, language in enumerate(("de", "id", "yo")):
        for method, style in (("pooled", "-"), ("ramen", "--")):
            counts, scores = zip(*_pairs(language, method), strict=True)
            label = f"{LANGUAGES[language]}, {method}"
            axes.plot(counts, scores, style, color=f"C{color}", marker="o", markersize=4, label=label)
    axes.set_xscale("log")
    axes.set_xlabel("translation pairs")
    axes.set_ylabel("sentence retrieval, P@1 in %")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8, ncols=3)
    return _svg(figure)


def _svg(figure: Figure) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="svg", metadata={"Date": None})
    return file.getvalue()


def trained(*methods: str) -> str:
    """What methods reach after training, in four languages: see `benchmarks/README.md`."""
    measured = {language: results(f"evidence_{language}")["methods"] for language in LANGUAGES}
    rows = []
    for method in methods:
        for language, known in measured.items():
            if method in known:
                rows.append([method, LANGUAGES[language], *_trained(known[method])])
    return table(["rows", "language", "bits per byte", "steps saved", "retrieval, P@1 in %", "topics, %"], rows)


def _trained(measured: dict[str, Any]) -> list[str]:
    curve, saved = measured.get("curve"), measured.get("steps saved", {}).get("random rows")
    found = measured["tasks"].get("retrieval")
    topics = measured["tasks"].get("classification, zero-shot")
    return [
        f"{curve['points'][-1]['bits_per_byte']:.3f}" if curve else NONE,
        f"{saved:.0%}" if saved is not None else NONE,
        f"{100 * found['backward'][0]:.1f} / {100 * found['forward'][0]:.1f}" if found else NONE,
        f"{100 * topics['accuracy'][0]:.1f}" if topics else NONE,
    ]


def decoder_start(*methods: str) -> str:
    """Bits per byte of SmolLM2-135M-Instruct with a new vocabulary, before any training."""
    languages = ("de", "id", "yo")
    measured = [results(f"decoder_start_{language}")["bits_per_byte"] for language in languages]
    rows = [[method, *(f"{each[method]:.2f}" for each in measured)] for method in methods]
    return table(["bits per byte", *(LANGUAGES[language] for language in languages)], rows)


def calibrated() -> str:
    """The same before and after the output head is calibrated."""
    languages = ("de", "id")
    measured = [results(f"decoder_calibrated_{language}")["bits_per_byte"] for language in languages]
    rows = []
    for method, value in measured[0].items():
        if isinstance(value, dict):
            rows.append(
                [method, *(f"{each[method]['as made']:.2f} → {each[method]['calibrated']:.2f}" for each in measured)]
            )
        else:
            rows.append([method, *(f"{each[method]:.2f}" for each in measured)])
    return table(["bits per byte, as made → calibrated", *(LANGUAGES[language] for language in languages)], rows)


def speed(*names: str) -> str:
    """Seconds and memory of initializers and of other implementations, at 50,000 × 50,000 tokens or as noted."""
    measured = results("initializer_speed")
    rows = [[name, f"{measured[name]['seconds']:.1f}", f"{measured[name]['extra_mb']:,.0f}"] for name in names]
    return table(["implementation", "seconds", "additional memory, MB"], rows)


def clp_demo() -> str:
    """CLP in the demonstration: the mean over seeds and, where there are several, the standard deviation."""
    rows = []
    for row in results("demo")["summaries"]:
        saved = row["steps_saved"].get("random rows")
        value = f"{row['bits_per_byte']:.3f}" + (f" ± {row['spread']:.3f}" if row["seeds"] > 1 else "")
        rows.append([row["method"], value, NONE if saved is None else f"{saved:.0%}"])
    return table(["rows", "bits per byte", "steps saved against random rows"], rows)


def alignment() -> str:
    """Alignment error rate of word alignment models, in per cent."""
    measured = results("word_alignment")
    ways = ("forward", "backward", "grow-diag-final-and", "intersection")
    names = {"hmm": "`hmm`, the default", "ibm2": "`ibm2`", "fast_align": "fast_align"}
    rows = [[name, *(f"{measured[model][way]:.1f}" for way in ways)] for model, name in names.items()]
    return table(["alignment error rate, %", *ways], rows)


def trelm() -> str:
    """TreLM and what is left when a part of it is taken away."""
    measured = [results(f"minilm_trelm_comparison_{language}")["methods"] for language in ("de", "id")]
    rows = []
    for method in measured[0]:
        cells = []
        for known in measured:
            value = known[method]
            found = value["retrieval"].get("itself") or value["retrieval"]["source"]
            cells.append(f"{value['end']['bits_per_byte']:.3f}")
            cells.append(f"{100 * found['from English']:.1f} / {100 * found['to English']:.1f}")
        rows.append([method, *cells])
    retrieval = "retrieval from / to English, P@1 in %"
    return table(["", "German, bits per byte", retrieval, "Indonesian, bits per byte", retrieval], rows)


def token_distillation() -> str:
    """The gap between mean rows and the source's own segmentation, and how much of it is closed."""
    measured = results("token_distillation")
    rows = [
        ["the source's own segmentation", f"{measured['bits_per_byte']['source']:.4f}", NONE],
        ["new tokens, mean of their pieces", f"{measured['bits_per_byte']['mean']:.4f}", "0%"],
    ]
    rows += [
        [name, f"{value['bits_per_byte']:.4f}", f"{value['gap_closed']:.1%}"]
        for name, value in measured["trained"].items()
    ]
    return table(["rows", "bits per byte", "gap closed"], rows)


def distilled() -> str:
    """Sentence retrieval in German before and after distillation."""
    measured = results("minilm_distill")["test"]["to_english / from_english"]
    rows = [[name, f"{to:.1f}", f"{back:.1f}"] for name, (to, back) in measured.items()]
    return table(["rows", "P@1 to English, %", "P@1 from English, %"], rows)


def sentence() -> str:
    """A sentence encoder of English and German before and after training, by mteb's protocols."""
    measured = results("sentence_de")
    before, after = measured["untouched"]["0"], measured["extend"]["0"]
    names = {
        "tatoeba de": "Tatoeba, German, to / from English, %",
        "sib pairs de": "SIB-200 sentences, German, to / from English, %",
        "sib topics de": "SIB-200 topics, German, %",
        "sts de": "STS-b test, German, Spearman",
        "sib topics en": "SIB-200 topics, English, %",
        "sts en": "STS-b test, English, Spearman",
        "english cosine": "cosine of English vectors with those before",
    }

    def shown(figure: Any) -> str:
        return f"{figure['to']:.1f} / {figure['from']:.1f}" if isinstance(figure, dict) else f"{figure:.4g}"

    return table(
        ["", "untouched", "both languages"],
        [[name, shown(before[key]), shown(after[key])] for key, name in names.items()],
    )


def structure() -> str:
    """Small bilingual models by what each language has for itself: bits per byte, mean over seeds."""
    cells = results("study_en_de")["cells"]
    kinds: dict[tuple[str, str, str], list[Any]] = {}
    for cell in cells:
        kinds.setdefault((cell["private"], cell["anchors"], cell["domain"]), []).append(cell)
    rows = []
    for (private, anchors, domain), found in kinds.items():
        bits = [sum(cell["bits_per_byte"][language] for cell in found) / len(found) for language in ("en", "de")]
        rows.append([private, anchors, domain, f"{bits[0]:.3f} / {bits[1]:.3f}", str(len(found))])
    return table(["private to each language", "anchors", "domain", "bits per byte, en / de", "seeds"], rows)


def memory() -> str:
    """Memory and time of `build`."""
    rows = []
    for name, what in (
        ("build_memory", "3 GB body, 64,000 rows × 1,024"),
        ("build_memory_256k", "1 GB body, 256,000 rows × 4,096"),
    ):
        value = results(name)
        seconds = sorted(value["build_seconds"])[len(value["build_seconds"]) // 2]
        rows.append([what, f"{value['checkpoint_mb']:,}", f"{value['peak_mb']:,.0f}", f"{seconds:.0f}"])
    return table(["untied checkpoint", "checkpoint, MB", "peak memory, MB", "seconds"], rows)


def training_speed() -> str:
    """Training and fine-tuning on two cores."""
    ratio = results("training_throughput")["tokens/s, ours / plain"]
    rows = [["training a masked language model, against plain `Trainer`", f"{ratio:.2f}"]]
    fast = results("fine_tuning_speed")
    for name, value in fast.items():
        if name.endswith(": times as fast"):
            rows.append([f"fine-tuning in {name.removesuffix(': times as fast')}", f"{value:.2f}"])
    return table(["what", "times as fast"], rows)


TABLES: dict[str, Callable[..., str]] = {
    "start-retrieval": start_retrieval,
    "pairs": pairs,
    "trained": trained,
    "decoder-start": decoder_start,
    "calibrated": calibrated,
    "speed": speed,
    "clp-demo": clp_demo,
    "alignment": alignment,
    "trelm": trelm,
    "token-distillation": token_distillation,
    "distilled": distilled,
    "sentence": sentence,
    "structure": structure,
    "memory": memory,
    "training-speed": training_speed,
}
