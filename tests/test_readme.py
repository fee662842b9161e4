"""What the README shows works as it stands there: tiny models lie in folders that bear the names of the Hub's."""

import copy
import shlex
from pathlib import Path

import pytest
import tiny
from hub_server import TOKEN, HubServer
from markdown_it import MarkdownIt
from test_cli import call
from test_hub import online  # noqa: F401
from transformers import AutoModelForMaskedLM

from hf_xlt.sample import sentences
from hf_xlt.tokenizers.train import train_tokenizer

README = Path(__file__).parents[1] / "README.md"
FENCES = [token for token in MarkdownIt().parse(README.read_text(encoding="utf-8")) if token.type == "fence"]
SCRIPTS = [token.content for token in FENCES if token.info == "python"]
COMMANDS = [
    shlex.split(line)
    for token in FENCES
    if token.info == "bash"
    for line in token.content.replace("\\\n", " ").splitlines()
    if line.startswith("hf-xlt")
]
SHORT = ("steps=2", "sequence_length=16", "batch_size=2", "evaluations=1", "checkpoints=1")
# What a command is given besides, so that it takes seconds.
BRIEFLY = {
    "run decoder": ["stages.0.steps=50", *(f"stages.0.{setting}" for setting in SHORT[1:]), "data.held_out_every=20"],
    "run sentence": [
        *(f"stages.{number}.{setting}" for number in (0, 1) for setting in SHORT),
        *("data.held_out_every=20", "tokenizer.added=100"),
    ],
}
QUICKLY = {"compare": ["--quick", "--probe"]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the README's files and models lie, by the names that it gives them."""
    place = tmp_path_factory.mktemp("readme")
    english = tiny.tokenizer("en", "wordpiece")
    german = train_tokenizer([*sentences("de", "train"), *["Hund Katze"] * 50], 2000, "wordpiece")
    positions = {"max_position_embeddings": 160, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    bert = {"num_hidden_layers": 4, **positions}
    for name, width, tokenizer, shape in (
        ("google-bert/bert-large-cased", 16, english, bert),
        ("google-bert/bert-base-german-cased", 8, german, positions),
        ("sentence-transformers/all-MiniLM-L6-v2", 16, english, positions),
    ):
        tiny.save(tiny.model("bert", tokenizer, width=width, **shape), tokenizer, place / name)
    tiny.sentence_folder(
        place / "sentence-transformers/all-MiniLM-L6-v2",
        ("Pooling", {"embedding_dimension": 16, "pooling_mode": "mean"}),
    )
    chat = copy.deepcopy(tiny.tokenizer("en", "byte-level-bpe"))
    chat.chat_template = "{% for message in messages %}{{ bos_token }}{{ message['content'] }}{% endfor %}"
    tiny.save(
        tiny.model("llama", chat, max_position_embeddings=160), chat, place / "HuggingFaceTB/SmolLM2-135M-Instruct"
    )
    text = {language: sentences(language, "train")[:300] for language in ("en", "de")}
    pairs = "".join(f"{source}\t{target}\n" for source, target in zip(text["en"], text["de"], strict=True))
    for name, content in {
        "de.txt": "\n".join(text["de"]),
        "held_out.txt": "\n".join(sentences("de", "held_out")[:20]),
        "en-de.tsv": pairs,
        "test.tsv": pairs,
        "en-de.txt": "dog\tHund\ncat\tKatze\nwater\tWasser\n",
        "topics.tsv": "text\ttopic\n"
        + "".join(f"{line}\t{'long' if len(line) > 25 else 'short'}\n" for line in text["de"]),
        "topics.yaml": "classification: {train: 'topics.tsv:text,topic', dev: 'topics.tsv:text,topic', "
        "test: 'topics.tsv:text,topic'}",
    }.items():
        (place / name).write_text(content, encoding="utf-8")
    return place


@pytest.fixture
def hub(online, monkeypatch):  # noqa: F811
    """A Hub here; models are looked for in folders all the same."""
    with HubServer() as server:
        online(server)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield server


@pytest.mark.slow
def test_the_commands_run_one_after_the_other(folder, hub, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    assert {words[1] for words in COMMANDS} >= {"run", "explain", "evaluate", "compare", "push"}
    for words in COMMANDS:
        if words[1] == "compare":  # the README's other model
            given = ("--source", "sentence-transformers/all-MiniLM-L6-v2", "--tokenizer", "minilm-german")
            assert call(monkeypatch, capsys, "initialize", "random", *given, "--output", words[3])[0] == 0
        briefly = [
            word
            for setting in BRIEFLY.get(words[1]) or BRIEFLY.get(" ".join(words[1:3]), ())
            for word in ("--set", setting)
        ]
        quickly = QUICKLY.get(words[1], [])
        code, _, err = call(monkeypatch, capsys, *words[1:], *briefly, *quickly)
        assert code == 0, f"{shlex.join(words)}\n{err}"
    assert hub.repositories["me/minilm-german"].files["model.safetensors"]
    assert (folder / "compared" / "report.html").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.splitlines()[0])
def test_the_scripts_run(script, folder, hub, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for path in folder.iterdir():
        (tmp_path / path.name).symlink_to(path)
    exec(compile(script, "README.md", "exec"), {})
    assert AutoModelForMaskedLM.from_pretrained(tmp_path / "bert-large-german").config.vocab_size == 2000
    assert hub.repositories["me/bert-large-german"].files["model.safetensors"]


def test_it_is_short():
    words = README.read_text(encoding="utf-8").split()
    assert sum(any(map(str.isalnum, word)) for word in words) <= 900
