"""FOCUS, WECHSEL and OMP against the packages of their authors and langsfer: time, memory, and whether rows agree.

    python benchmarks/initializer_speed.py --folder /a/disk/with/room

installs the peers (`deepfocus`, `wechsel`, `langsfer`, `mergekit`) from PyPI into an environment of their own within
the folder, if it is not there yet; one that cannot be installed or run is named and left out. Then it makes two
tokenizers that share some tokens, static vectors in clusters, as words are, and a source table, and gives the same to
all. Each contestant runs in a fresh process. Timed is everything from tokenizers, vectors and table in memory to the
target's rows in memory: the overlap, similarities, weights and sums; not the training of vectors, nor reading files.
Ours opens the source checkpoint's tokenizer and learns the dictionary's map within that time, too; wechsel and
langsfer are given mapped vectors. Of OMP only the pursuit and the sums are timed, for the first rows that the source
lacks, as all of them take mergekit hours. Extra memory is by how much the peak of resident memory rises meanwhile
(Linux).
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

PEERS = {
    "deepfocus": ("deepfocus", "entmax", "fastdist", "print-on-steroids", "fasttext"),
    "wechsel": ("wechsel", "fasttext"),
    "langsfer": ("langsfer",),
    "mergekit": ("mergekit", "immutables"),
}
# Some of what the peers ask for is pinned to what no longer installs; current versions do.
NEEDED = ("datasets", "gensim", "more-itertools", "nltk", "numba", "platformdirs", "regex", "requests", "scikit-learn",
          "scipy", "tqdm", "transformers")  # fmt: skip
CONTESTS = {"FOCUS": ("deepfocus",), "WECHSEL": ("wechsel", "langsfer"), "OMP": ("mergekit",)}
LEAST_SPEED = {"deepfocus": 20, "wechsel": 5, "langsfer": 5}
MOST_MEMORY = {"deepfocus": 1 / 5}
LARGEST_DIFFERENCE = 1e-4
TIE = 1e-6  # of cosines
PURSUED = 2_000  # rows made by OMP
ATOMS = 64  # tokens in each of them
BATCH = 512  # mergekit's
SPECIALS = {"unk_token": "[UNK]", "pad_token": "[PAD]"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="where the peers and the data go; both stay there")
    parser.add_argument("--vocabulary", type=int, default=50_000, help="tokens of each tokenizer")
    parser.add_argument("--overlap", type=float, default=0.3, help="share of the target's tokens that the source has")
    parser.add_argument("--width", type=int, default=1_024, help="width of the source's table")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    parser.add_argument("--step", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.step:
        STEPS[arguments.step](arguments)
    else:
        measure(arguments)


def measure(arguments: argparse.Namespace) -> None:
    arguments.folder.mkdir(parents=True, exist_ok=True)
    python = install(arguments.folder / "peers")
    run(sys.executable, "prepare", arguments)
    figures: dict[str, dict] = {}
    for method, peers in CONTESTS.items():
        ours = figures[method] = json.loads(run(sys.executable, method, arguments))
        print(f"{method}: {ours['seconds']:.2f} s, {ours['extra_mb']:,.0f} MB extra, on {arguments.threads} threads")
        for peer in peers:
            try:
                figures[peer] = json.loads(run(python, peer, arguments))
            except subprocess.CalledProcessError as error:
                print(f"  {peer} cannot be run here: {error.stderr.strip().splitlines()[-1]}")
                continue
            report(peer, ours, figures[peer], *difference(arguments.folder, method, peer))
            if method == "OMP":
                print(run(sys.executable, "apart", arguments))
    if arguments.json:
        arguments.json.write_text(json.dumps({"vocabulary": arguments.vocabulary} | figures, indent=2))


def report(peer: str, ours: dict, theirs: dict, largest: float, ties: int) -> None:
    speed, memory = theirs["seconds"] / ours["seconds"], ours["extra_mb"] / theirs["extra_mb"]
    print(f"  {peer}: {theirs['seconds']:.2f} s, {theirs['extra_mb']:,.0f} MB extra")
    verdict("times as fast as it", speed, ">=", LEAST_SPEED.get(peer))
    verdict("of its extra memory", memory, "<=", MOST_MEMORY.get(peer))
    verdict("largest difference of a value", largest, "<=", LARGEST_DIFFERENCE)
    print(f"    {'rows left out of it, for a tie':32} {ties:10}")


def verdict(name: str, figure: float, sign: str, target: float | None) -> None:
    met = "" if target is None else f"   {sign} {target:g}: "
    if target is not None:
        met += "met" if (figure >= target if sign == ">=" else figure <= target) else "MISSED"
    print(f"    {name:32} {figure:10.3g}{met}")


def install(folder: Path) -> str:
    """The interpreter of the peers' environment; packages go there one by one, so that one failure spoils no other."""
    python = folder / "bin" / "python"
    if not python.exists():
        from importlib.metadata import version

        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        pip = [python, "-m", "pip", "install", "--quiet"]
        subprocess.run([*pip, f"torch=={version('torch').split('+')[0]}", *NEEDED], check=True)
        for package in sorted({package for packages in PEERS.values() for package in packages}):
            if subprocess.run([*pip, "--no-deps", package], check=False).returncode:
                print(f"{package} cannot be installed here")
    return str(python)


def run(python: str, step: str, arguments: argparse.Namespace) -> str:
    names = ("folder", "vocabulary", "overlap", "width", "threads")
    options = [part for name in names for part in (f"--{name}", str(getattr(arguments, name)))]
    threads = {f"{name}_NUM_THREADS": str(arguments.threads) for name in ("OMP", "OPENBLAS", "MKL", "NUMBA")}
    environment = os.environ | threads | {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    command = [python, __file__, "--step", step, *options]
    result = subprocess.run(command, env=environment, check=True, text=True, capture_output=True)
    return result.stdout.strip().splitlines()[-1] if result.stdout.strip() else ""


def difference(folder: Path, method: str, peer: str) -> tuple[float, int]:
    """The largest difference of a value, and the number of rows left out of it.

    Left out are special tokens, which have no vector (langsfer leaves them the mean of ten arbitrary rows), and rows
    of WECHSEL whose tenth and eleventh nearest tokens are equally near to float32's rounding: either may be in it.
    """
    first, second = (np.load(folder / f"{name}.npy", mmap_mode="r") for name in (method, peer))
    blocks = (slice(start, start + 4096) for start in range(len(SPECIALS), len(first), 4096))
    largest = np.concatenate([np.abs(first[block] - second[block]).max(axis=1) for block in blocks])
    apart = np.flatnonzero(largest > LARGEST_DIFFERENCE)
    if method == "WECHSEL" and len(apart):
        apart = apart[tied(*vectors(folder, "wechsel"), apart + len(SPECIALS))]
        largest[apart] = 0
        return float(largest.max()), len(apart)
    return float(largest.max()), 0


def tied(source: np.ndarray, target: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Whether the tenth and eleventh nearest source tokens of some target rows are as near, bool."""
    keys, queries = source @ mapping([source, target]), target[rows].astype(np.float64)
    keys[len(SPECIALS) :] /= np.linalg.norm(keys[len(SPECIALS) :], axis=1, keepdims=True)
    ordered = np.sort(queries / np.linalg.norm(queries, axis=1, keepdims=True) @ keys.T, axis=1)
    return ordered[:, -10] - ordered[:, -11] < TIE


def prepare(arguments: argparse.Namespace) -> None:
    """A source checkpoint, a target tokenizer, and vectors for both."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import BertConfig, BertForMaskedLM, PreTrainedTokenizerFast

    size, shared = arguments.vocabulary, int(arguments.vocabulary * arguments.overlap)
    ordinary = size - len(SPECIALS)
    draw = np.random.default_rng(0)
    sides = {
        "source": draw.permutation(ordinary),
        "target": draw.permutation(np.r_[:shared, ordinary : 2 * ordinary - shared]),
    }
    words = [*map(word, range(2 * ordinary))]
    for side, numbers in sides.items():
        vocabulary = [*SPECIALS.values(), *(f"▁{words[number]}" for number in numbers)]
        backend = Tokenizer(models.WordLevel({token: id_ for id_, token in enumerate(vocabulary)}, "[UNK]"))
        backend.pre_tokenizer = pre_tokenizers.Metaspace()
        tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, **SPECIALS)
        tokenizer.save_pretrained(arguments.folder / side)
    for width, name in ((100, "focus"), (300, "wechsel")):
        centres = draw.standard_normal((size // 25, width), dtype=np.float32)
        for side in sides:
            rows = centres[draw.integers(len(centres), size=size)] + draw.standard_normal((size, width), np.float32)
            rows[: len(SPECIALS)] = 0
            np.save(arguments.folder / f"{name}_{side}.npy", rows)
    torch.manual_seed(0)
    shape = {"num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8, "max_position_embeddings": 8}
    config = BertConfig(vocab_size=size, hidden_size=arguments.width, pad_token_id=1, **shape)
    model = BertForMaskedLM(config)
    model.save_pretrained(arguments.folder / "source")
    np.save(arguments.folder / "table.npy", model.get_input_embeddings().weight.detach().numpy())


def word(number: int) -> str:
    """A word of its own for each number, of letters alone."""
    letters = []
    for _ in range(5):
        number, letter = divmod(number, 26)
        letters.append(chr(ord("a") + letter))
    return "".join(letters)


def resident(field: str) -> float:
    """`VmRSS` (now) or `VmHWM` (peak) of this process in MB."""
    line = next(li for li in Path("/proc/self/status").read_text().splitlines() if li.startswith(field))
    return int(line.split()[1]) * 1024 / 1e6


def timed(arguments: argparse.Namespace, name: str, work: Callable[[], np.ndarray]) -> None:
    """Do the work once, keep its rows, print its figures."""
    Path("/proc/self/clear_refs").write_text("5")  # sets the peak back to the present
    before, start = resident("VmRSS"), time.perf_counter()
    rows = work()
    seconds, extra = time.perf_counter() - start, resident("VmHWM") - before
    np.save(arguments.folder / f"{name}.npy", np.asarray(rows, dtype=np.float32))
    print(json.dumps({"seconds": round(seconds, 3), "extra_mb": round(extra, 1)}))


def tokenizers(folder: Path) -> list:
    from transformers import PreTrainedTokenizerFast

    return [PreTrainedTokenizerFast.from_pretrained(folder / side) for side in ("source", "target")]


def vectors(folder: Path, name: str) -> list[np.ndarray]:
    return [np.load(folder / f"{name}_{side}.npy") for side in ("source", "target")]


def focus(arguments: argparse.Namespace) -> None:
    import torch

    from hf_xlt.checkpoint.open import Checkpoint
    from hf_xlt.initializers.focus import FocusInitializer

    torch.set_num_threads(arguments.threads)
    source, table = (
        Checkpoint.open(arguments.folder / "source"),
        torch.from_numpy(np.load(arguments.folder / "table.npy")),
    )
    tokenizer, given = tokenizers(arguments.folder)[1], torch.from_numpy(vectors(arguments.folder, "focus")[1])
    timed(
        arguments, "FOCUS", lambda: FocusInitializer(source, tokenizer, vectors=given).transport().apply(table).numpy()
    )


def mapping(given: list[np.ndarray]) -> np.ndarray:
    """The orthogonal map from source to target vectors of tokens with the same id: a dictionary of 5,000 entries."""
    left, _, right = np.linalg.svd(given[0][2:5002].T.astype(np.float64) @ given[1][2:5002])
    return left @ right


def wechsel_ours(arguments: argparse.Namespace) -> None:
    import torch

    from hf_xlt.checkpoint.open import Checkpoint
    from hf_xlt.evidence.translations import Dictionary
    from hf_xlt.evidence.vectors.subword import TextVectors
    from hf_xlt.initializers.wechsel import WechselInitializer

    class Given(TextVectors):
        """Vectors of tokens that are there already; words are ids, spelled as numbers."""

        def __init__(self, table: np.ndarray) -> None:
            self.table = torch.from_numpy(table)

        def of_words(self, words: list[str]) -> torch.Tensor:
            return self.table[torch.tensor([int(word) for word in words])]

        def of_tokens(self, tokenizer: object) -> torch.Tensor:
            return self.table

    torch.set_num_threads(arguments.threads)
    source, table = (
        Checkpoint.open(arguments.folder / "source"),
        torch.from_numpy(np.load(arguments.folder / "table.npy")),
    )
    tokenizer, given = tokenizers(arguments.folder)[1], [Given(rows) for rows in vectors(arguments.folder, "wechsel")]
    dictionary = Dictionary(tuple((str(id_), str(id_)) for id_ in range(2, min(5002, arguments.vocabulary))))

    def rows() -> np.ndarray:
        evidence = {"source_vectors": given[0], "vectors": given[1], "dictionary": dictionary}
        return WechselInitializer(source, tokenizer, **evidence).transport().apply(table).numpy()

    timed(arguments, "WECHSEL", rows)


def deepfocus(arguments: argparse.Namespace) -> None:
    import deepfocus.focus as peer
    import torch
    from fastdist import fastdist

    torch.set_num_threads(arguments.threads)
    source, target = tokenizers(arguments.folder)
    given, table = vectors(arguments.folder, "focus")[1], torch.from_numpy(np.load(arguments.folder / "table.npy"))
    of_tokens = dict(zip(target.convert_ids_to_tokens(range(len(target))), given, strict=True))
    peer.load_target_token_embedding = lambda **_: of_tokens  # its own word-level mode passes on such a dict, too
    fastdist.cosine_matrix_to_matrix(given[:4], given[:4])  # compiles
    settings = {"fasttext_model_path": "given", "verbosity": "silent"}
    timed(arguments, "deepfocus", lambda: peer.FOCUS(target, source, table, **settings).numpy())


def wechsel(arguments: argparse.Namespace) -> None:
    from wechsel import create_target_embeddings

    source, target = tokenizers(arguments.folder)
    given, table = vectors(arguments.folder, "wechsel"), np.load(arguments.folder / "table.npy")
    mapped = given[0] @ mapping(given)  # float64, as the package's own vectors are
    aligned = mapped, given[1].astype(np.float64)
    timed(arguments, "wechsel", lambda: create_target_embeddings(*aligned, source, target, table, verbose=False)[0])


def langsfer(arguments: argparse.Namespace) -> None:
    from langsfer.embeddings import AuxiliaryEmbeddings
    from langsfer.initialization import WeightedAverageEmbeddingsInitialization
    from langsfer.weights import SoftmaxWeights, TopKWeights

    class Given(AuxiliaryEmbeddings):
        """Vectors of tokens that are there already."""

        def __init__(self, tokenizer: object, table: np.ndarray) -> None:
            self.table = table
            self.names = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
            self.ids = {name: id_ for id_, name in enumerate(self.names)}

        @property
        def embeddings_matrix(self) -> np.ndarray:
            return self.table

        @property
        def vocabulary(self) -> list[str]:
            return self.names

        def get_id_for_token(self, token: str) -> int:
            return self.ids[token]

        def get_token_for_id(self, id_: int) -> str:
            return self.names[id_]

        def get_vector_for_token(self, token: str) -> np.ndarray:
            return self.table[self.ids[token]]

    source, target = tokenizers(arguments.folder)
    given, table = vectors(arguments.folder, "wechsel"), np.load(arguments.folder / "table.npy")
    mapped = given[0] @ mapping(given)
    initializer = WeightedAverageEmbeddingsInitialization(
        source_tokenizer=source,
        source_embeddings_matrix=table,
        target_tokenizer=target,
        target_auxiliary_embeddings=Given(target, given[1]),
        source_auxiliary_embeddings=Given(source, mapped),
        weights_strategy=TopKWeights(k=10).compose(SoftmaxWeights(temperature=0.1)),
    )
    timed(arguments, "langsfer", lambda: initializer.initialize(seed=0))


def pursuit(folder: Path) -> tuple:
    """Rows of a donor that the source lacks, those that it has, and the source's of these."""
    import torch

    donor, table = torch.from_numpy(vectors(folder, "wechsel")[1]), torch.from_numpy(np.load(folder / "table.npy"))
    source, target = (tokenizer.get_vocab() for tokenizer in tokenizers(folder))
    shared = sorted(target[token] for token in target.keys() & source.keys() if token not in SPECIALS.values())
    missing = sorted(target[token] for token in target.keys() - source.keys())[:PURSUED]
    names = {id_: token for token, id_ in target.items()}
    return donor[missing], donor[shared], table[[source[names[id_]] for id_ in shared]]


def omp(arguments: argparse.Namespace) -> None:
    import torch

    from hf_xlt.geometry.matching_pursuit import matching_pursuit

    torch.set_num_threads(arguments.threads)
    missing, shared, rows = pursuit(arguments.folder)

    def made() -> np.ndarray:
        taken, coefficients = matching_pursuit(missing, shared, ATOMS)
        return torch.einsum("nk,nkd->nd", coefficients, rows[taken]).numpy()

    timed(arguments, "OMP", made)


def mergekit(arguments: argparse.Namespace) -> None:
    import torch
    from mergekit.tokensurgeon.omp import batch_omp

    torch.set_num_threads(arguments.threads)
    missing, shared, rows = pursuit(arguments.folder)

    def made() -> np.ndarray:
        found = [batch_omp(batch, shared, ATOMS) for batch in missing.split(BATCH)]
        return torch.cat([torch.einsum("nk,nkd->nd", part[1], rows[part[0]]) for part in found]).numpy()

    timed(arguments, "mergekit", made)


def apart(arguments: argparse.Namespace) -> None:
    """Rows in which OMP's contestants differ, beside a plain pursuit in float64: who agrees, how near a tie it was."""
    import torch

    missing, shared, rows = pursuit(arguments.folder)
    made = {name: torch.from_numpy(np.load(arguments.folder / f"{name}.npy")) for name in ("OMP", "mergekit")}
    told = []
    for row in ((made["OMP"] - made["mergekit"]).abs().amax(1) > LARGEST_DIFFERENCE).nonzero().flatten().tolist():
        signal, atoms = missing[row].double(), shared.double()
        rest, taken, gap = signal, [], 1.0
        for _ in range(ATOMS):
            scores = (atoms @ rest).abs()
            scores[taken] = -1
            best, second = scores.topk(2).values
            gap = min(gap, float((best - second) / best))
            taken.append(int(scores.argmax()))
            coefficients = torch.linalg.lstsq(atoms[taken].T, signal[:, None]).solution[:, 0]
            rest = signal - coefficients @ atoms[taken]
        exact = coefficients @ rows[taken].double()
        far = ", ".join(f"{name} {float((table[row] - exact).abs().max()):.1g}" for name, table in made.items())
        told.append(f"row {row}: two atoms {gap:.1g} apart; from float64: {far}")
    print("    " + "; ".join(told or ["no row differs"]))


STEPS = {
    "prepare": prepare,
    "FOCUS": focus,
    "WECHSEL": wechsel_ours,
    "deepfocus": deepfocus,
    "wechsel": wechsel,
    "langsfer": langsfer,
    "OMP": omp,
    "mergekit": mergekit,
    "apart": apart,
}

if __name__ == "__main__":
    main()
