"""`kill -9` at random moments of `initialize`, `run` and `push`: the same command then ends as if nothing had been.

    python benchmarks/kills.py --kills 100

uses tiny models and a Hub on this machine (`tests/tiny.py`, `tests/hub_server.py`). Each trial forks a process
that has the libraries imported already, kills it after a random share of the time that the command takes, in some
trials the next one too, and then gives the command once more. After every kill there is no output, or a whole one; in
the end all files equal the uninterrupted run's to the byte, except for the seconds in `results.json`, and for the
order of the metadata in the headers of safetensors files. What is done is kept in the results file: the same call goes
on there.
"""

import argparse
import hashlib
import io
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "tests"))

from hub_server import TOKEN, HubServer  # noqa: E402

REPOSITORY = "me/killed"
MODELS = ("--source", "source", "--helper", "helper")
STEPS = 12


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100, help="how many processes to kill, earlier calls included")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--results", type=Path, default=HERE / "results" / "kills.json")
    arguments = parser.parse_args()
    with HubServer() as server, tempfile.TemporaryDirectory() as folder:
        os.environ |= {"HF_ENDPOINT": server.endpoint, "HF_TOKEN": TOKEN, "HF_HUB_OFFLINE": "0", "OMP_NUM_THREADS": "1"}
        os.environ |= {"TOKENIZERS_PARALLELISM": "false", "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_XET": "1"}
        os.chdir(folder)
        import hf_xlt.cli  # noqa: F401  # forked processes have it: moments lie in the work, not in the imports

        measure(arguments, server)


def measure(arguments: argparse.Namespace, server: HubServer) -> None:
    write_inputs()
    whole, seconds = {}, {}
    for name, command in COMMANDS.items():
        begun = time.monotonic()
        status = wait(start(command("whole")))
        seconds[name] = time.monotonic() - begun
        assert status == 0, (name, Path("log").read_text())
        whole[name] = state(name, "whole", server)
        print(f"{name}: {seconds[name]:.1f} s uninterrupted, {len(whole[name])} files", flush=True)
    done = json.loads(arguments.results.read_text()) if arguments.results.exists() else {"seed": arguments.seed}
    if done["seed"] != arguments.seed:
        raise SystemExit(f"{arguments.results} is of seed {done['seed']}; move it away.")
    trials = done.setdefault("trials", [])
    while sum(trial["kills"] for trial in trials) < arguments.kills:
        trial = attempt(len(trials), arguments.seed, whole, seconds, server)
        trials.append(trial)
        done |= {"seconds": seconds, "summary": summary(trials)}
        arguments.results.write_text(json.dumps(done, indent=1) + "\n")
        print(json.dumps(trial), flush=True)
    print(json.dumps(done["summary"], indent=1))


def attempt(number: int, seed: int, whole: dict, seconds: dict, server: HubServer) -> dict:
    """One command, killed once or twice and then given again."""
    draw = random.Random(f"{seed}-{number}")
    name = list(COMMANDS)[number % len(COMMANDS)]
    clear(name, server)
    moments, faults = [], []
    for _ in range(draw.choice((1, 1, 2))):
        process = start(COMMANDS[name]("killed"))
        share = draw.random()
        time.sleep(share * seconds[name])
        os.kill(process, signal.SIGKILL)
        wait(process)
        moments.append(round(share, 4))
        if looks_complete(name, server) and (differing := differences(whole[name], state(name, "killed", server))):
            faults.append(f"looks complete after a kill: {differing}")
    finished = looks_complete(name, server) and name != "push"
    if not finished and (status := wait(start(COMMANDS[name]("killed")))) != 0:
        faults.append(f"ended with {status}: {Path('log').read_text()[-500:]}")
    if differing := differences(whole[name], state(name, "killed", server)):
        faults.append(f"differs in the end: {differing}")
    if left := sorted(path.name for path in Path().glob(".killed*")) if not finished else []:
        faults.append(f"left behind: {left}")
    return {"command": name, "kills": len(moments), "moments": moments, "finished": finished, "faults": faults}


def summary(trials: list) -> dict:
    """Kills, reruns and faults by command."""
    return {
        name: {
            "kills": sum(trial["kills"] for trial in trials if trial["command"] == name),
            "trials": sum(trial["command"] == name for trial in trials),
            "faults": sum(len(trial["faults"]) for trial in trials if trial["command"] == name),
        }
        for name in COMMANDS
    }


def write_inputs() -> None:
    """Models of either language, text and a recipe."""
    import tiny

    from hf_xlt.sample import sentences

    english, german = tiny.tokenizer("en", "byte-level-bpe"), tiny.tokenizer("de", "byte-level-bpe", 500)
    tiny.save(tiny.model("gpt2", english, seed=1), english, Path("source"))
    tiny.save(tiny.model("gpt2", german, seed=2, width=8), german, Path("helper"))
    Path("de.txt").write_text("\n".join(sentences("de", "train")[:400]) + "\n", encoding="utf-8")
    Path("recipe.yaml").write_text(
        "name: tiny\ninitializer: {method: clp, weighting: sparsemax}\nprompts: [Die Katze]\nstages:\n"
        + "".join(
            f"  - {{name: {name}, steps: {STEPS}, sequence_length: 32, batch_size: 4, evaluations: 3, "
            "checkpoints: 6}\n"
            for name in ("first", "second")
        ),
        encoding="utf-8",
    )


def initialize(output: str) -> list[str]:
    return ["initialize", "clp", *MODELS, "--output", str(Path(output) / "initialized" / "model")]


def run(output: str) -> list[str]:
    return ["run", "recipe.yaml", *MODELS, "--corpus", "de.txt", "--output", str(Path(output) / "trained" / "model")]


def push(output: str) -> list[str]:
    return ["push", str(Path("whole") / "trained" / "model"), f"{REPOSITORY}-{output}"]


COMMANDS: dict[str, Callable[[str], list[str]]] = {"initialize": initialize, "run": run, "push": push}
FOLDERS = {"initialize": "initialized", "run": "trained"}


def start(command: list[str]) -> int:
    """A forked process that carries out a command; its output goes to the file `log`."""
    process = os.fork()
    if process:
        return process
    status = 1
    try:
        from hf_xlt.cli import main as command_line

        sys.argv = ["hf-xlt", *command]
        with open("log", "w") as log, redirect_stdout(log), redirect_stderr(log):
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
            command_line()
        status = 0
    except SystemExit as end:
        status = int(end.code or 0)
    finally:
        os._exit(status)


def wait(process: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def clear(name: str, server: HubServer) -> None:
    shutil.rmtree("killed", ignore_errors=True)
    if name == "push":
        server.repositories.pop(f"{REPOSITORY}-killed", None)
        server.large_files.clear()


def looks_complete(name: str, server: HubServer) -> bool:
    """Whether anyone would take what there is for a whole model: a folder of that name; on the Hub, one with a card."""
    if name == "push":
        return "README.md" in state(name, "killed", server)
    return (Path("killed") / FOLDERS[name] / "model").exists()


def state(name: str, output: str, server: HubServer) -> dict[str, str]:
    """File → digest of what may not differ."""
    if name == "push":
        repository = server.repositories.get(f"{REPOSITORY}-{output}")
        files = {} if repository is None else repository.files
        return {path: digest(path, content) for path, content in files.items()}
    folder = Path(output) / FOLDERS[name] / "model"
    return {
        str(path.relative_to(folder)): digest(path.name, path.read_bytes().replace(output.encode(), b"OUTPUT"))
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def digest(name: str, content: bytes) -> str:
    if name.endswith("results.json"):
        data = json.loads(content)
        for entry in (*data["summaries"], *(run["curve"] for run in data["runs"])):
            entry.pop("seconds", None)
        content = json.dumps(data, sort_keys=True).encode()
    if (
        name == ".hf_xlt.json"
    ):  # the list of files has their sizes, and those of texts follow the length of the output's name
        content = json.dumps(sorted(json.loads(content)["files"])).encode()
    if name.endswith(".safetensors"):  # the library writes the header's metadata in no order
        start = 8 + int.from_bytes(content[:8], "little")
        content = json.dumps(json.loads(content[8:start]), sort_keys=True).encode() + content[start:]
    return hashlib.sha256(content).hexdigest()


def differences(whole: dict[str, str], found: dict[str, str]) -> list[str]:
    return sorted(path for path in whole.keys() | found.keys() if whole.get(path) != found.get(path))


if __name__ == "__main__":
    sys.stdout = io.TextIOWrapper(sys.stdout.buffer, line_buffering=True)
    main()
