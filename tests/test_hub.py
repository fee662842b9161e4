import json
import os
import re
import subprocess
import sys
from dataclasses import MISSING, fields, replace
from pathlib import Path

import pytest
import torch
import yaml
from hub_server import TOKEN, Commit, HubServer, Repository
from huggingface_hub import ModelCard, close_session, constants
from safetensors.torch import save_file

from hf_xlt import cli
from hf_xlt.errors import InputError, UploadError
from hf_xlt.files import plain_yaml
from hf_xlt.hub.card import (
    CardFacts,
    CardTable,
    CorpusFacts,
    EvidenceFacts,
    ResultRow,
    RowCounts,
    Score,
    installed_versions,
    render_card,
    write_card,
)
from hf_xlt.hub.push import plan_upload, push

GOLDEN = Path(__file__).parent / "data" / "model_card.md"

FULL = CardFacts(
    title="me/tiny-german",
    kind="decoder",
    auto_class="AutoModelForCausalLM",
    method="CLP (paper)",
    base_model="someone/tiny-english",
    brings_code=True,
    helper="someone/smaller-german",
    languages=("de",),
    license="other",
    license_name="a-license-of-mine",
    recipe_name="clp",
    recipe_description="Copy shared tokens, mix the others by similarity in the helper, train on the target.",
    recipe="name: clp\nsource: someone/tiny-english\ndata:\n  corpus: märchen.txt.gz\nstages:\n- steps: 200\n",
    command="hf-xlt run clp --source someone/tiny-english --corpus märchen.txt.gz --output 'tiny german'",
    rows=RowCounts(copied=1200, mixed=6790, drawn=10),
    evidence=(EvidenceFacts("a dictionary", "en-de.tsv", "1,234 entries"), EvidenceFacts("a donor", "someone/donor")),
    health=(
        CardTable("Rows by origin", ("origin", "rows"), (("copied", "1,200"), ("mixed", "6,790"), ("drawn", "10"))),
        CardTable("Nearest source tokens", ("word", "nearest source tokens"), (("Hund", "dog 0.71, | 0.60"),)),
    ),
    datasets=("someone/fairy-tales:de", "märchen.txt.gz"),
    corpus=CorpusFacts(
        name="märchen.txt.gz", sequences=12_345, tokens=1_580_160, held_out_lines=500, held_out_bytes=61_234
    ),
    results=(
        ResultRow("CLP (paper)", 2.0414, 3, 3.5, 4.2, 66.686, {"random rows": 0.625, "from | scratch": 1.0}),
        ResultRow("random rows", 2.25, 3, 4.125, 4.5, 90.017, {"from | scratch": None}),
        ResultRow("from | scratch", 2.5, 3, 5.0, 7.5, 1808.042),
    ),
    scores=(Score("translation", "src2trg_accuracy", 0.125, "Translations found", "someone/fairy-tales:de"),),
    retrieval=(CardTable("Translations found", ("method", "to source"), (("CLP (paper)", "12.5"),)),),
    pictures={"Learning curves": "learning_curves.png"},
    continuations={
        'Er sagte: "Ja': {"CLP (paper)": "und ging hinaus.", "random rows": "der der der"},
        "Die Sonne": {"CLP (paper)": "schien den ganzen Tag.", "random rows": "war war"},
    },
    versions={"python": "3.11.2", "hf-xlt": "0.1.0", "transformers": "5.23.0"},
    hardware="x86_64, 2 cores, no GPU",
    citation="@misc{key,\n  title = {A Title}\n}",
)
OPTIONAL = [field.name for field in fields(CardFacts) if field.default is not MISSING]
LEAST = CardFacts(title="tiny-german", kind="encoder", auto_class="AutoModel", method="from scratch")


def gaps(card):
    """What betrays an absent fact: a name of nothing, empty brackets or marks, blank lines, headings without text."""
    text = str(card)
    found = re.findall(r"None|undefined|\(\)|(?<!`)``(?!`)|\n\n\n|\n\n$", text)
    unfenced = re.sub(r"```.*?```", "code", text, flags=re.DOTALL)
    return found + re.findall(r"^#+ .*$(?=\s*(?:^#|\Z))", unfenced, flags=re.MULTILINE)


def test_gaps_are_found():
    assert gaps("# A\n\n`` of ()\n## B\n\n\n## C\ntext None\n\n") == [
        *("``", "()", "\n\n\n", "None", "\n\n"),
        "## B",
    ]


def test_full_card_is_the_golden_one():
    assert str(render_card(FULL)) == GOLDEN.read_text(encoding="utf-8")
    assert not gaps(render_card(FULL))


def test_card_of_least_facts_has_no_gap():
    card = str(render_card(LEAST))
    assert not gaps(card)
    assert re.findall("^## .*", card, flags=re.MULTILINE) == ["## How to use", "## Limits"]


@pytest.mark.parametrize("fact", OPTIONAL)
def test_card_leaves_out_an_absent_fact_without_a_gap(fact):
    absent = {"library_name": "other", "pipeline_tag": "other", "results": ()}
    without = {fact: absent.get(fact)} | ({"license_name": None} if fact == "license" else {})
    card = str(render_card(replace(FULL, **without)))
    assert not gaps(card)
    assert card != str(render_card(FULL))


@pytest.mark.parametrize("fact", OPTIONAL)
def test_card_of_one_fact_has_no_gap(fact):
    with_it = {fact: getattr(FULL, fact)} | ({"license": "other"} if fact == "license_name" else {})
    assert not gaps(render_card(replace(LEAST, **with_it)))


@pytest.mark.parametrize("fact", ["continuations", "versions"])
def test_card_leaves_out_empty_sections(fact):
    card = str(render_card(replace(FULL, **{fact: {}})))
    assert not gaps(card)
    assert f"## {fact.capitalize()}" not in card
    assert f"## {fact.capitalize()}" in str(render_card(FULL))


def test_metadata_is_what_the_hub_reads(tmp_path):
    data = ModelCard.load(write_card(tmp_path, FULL)).data.to_dict()
    index = data.pop("model-index")
    assert [(each["task"], each["dataset"], each["metrics"]) for each in index[0]["results"]] == [
        (
            {"type": "text-generation"},
            {"name": "märchen.txt.gz", "type": "unknown", "config": "märchen.txt.gz"},
            [
                {"type": "bits_per_byte", "value": 2.0414, "name": "Held-out bits per byte"},
                {"type": "loss", "value": 4.2, "name": "Held-out loss"},
                {"type": "perplexity", "value": 66.686, "name": "Held-out perplexity"},
            ],
        ),
        (
            {"type": "translation"},
            {"name": "someone/fairy-tales:de", "type": "someone/fairy-tales", "config": "de", "split": "train"},
            [{"type": "src2trg_accuracy", "value": 0.125, "name": "Translations found"}],
        ),
    ]
    assert index[0]["name"] == "me/tiny-german"
    assert data == {
        "base_model": "someone/tiny-english",
        "base_model_relation": "finetune",
        "datasets": ["someone/fairy-tales"],
        "language": "de",
        "license": "other",
        "license_name": "a-license-of-mine",
        "metrics": ["bits_per_byte", "loss", "perplexity", "src2trg_accuracy"],
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["hf-xlt", "cross-lingual-transfer", "clp-paper"],
    }


def test_figures_that_are_no_numbers_are_not_told_to_the_hub():
    row = replace(FULL.results[0], perplexity=float("inf"), loss=float("nan"))
    card = render_card(replace(FULL, results=(row,), scores=()))
    assert [result.metric_type for result in card.data.eval_results] == ["bits_per_byte"]
    assert "model-index" not in render_card(replace(LEAST, corpus=FULL.corpus)).data.to_dict()


def test_card_of_a_model_from_scratch_names_no_base_model():
    card = render_card(replace(LEAST, corpus=FULL.corpus))
    assert "base_model" not in card.data.to_dict()
    assert card.data.tags == ["hf-xlt", "from-scratch"]
    assert "trained from scratch on `märchen.txt.gz`" in str(card)


def test_card_of_an_untrained_transfer_says_so():
    assert "It has not been trained since." in str(render_card(replace(FULL, corpus=None)))


def test_card_says_where_a_baseline_was_not_reached_and_marks_what_was_not_measured():
    rows = (
        ResultRow("a", 2.0, steps_saved={"b": None}),
        ResultRow("b", 1.5, loss=0.5, steps_saved={"a": 0.255}),
    )
    lines = [line for line in str(render_card(replace(LEAST, results=rows))).splitlines() if line.startswith("|")]
    assert lines == [
        "| method | seeds | bits/byte | loss | steps saved against b | steps saved against a |",
        "| --- | --- | --- | --- | --- | --- |",
        "| a | 1 | 2.000 | – | not reached | – |",
        "| b | 1 | 1.500 | 0.500 | – | 26% |",
    ]


def test_snippet_of_an_encoder_generates_nothing():
    assert "generate" not in str(render_card(replace(FULL, kind="encoder", auto_class="AutoModelForMaskedLM")))


@pytest.mark.parametrize("facts", [FULL, LEAST], ids=["full", "least"])
def test_snippet_is_python(facts):
    snippet = re.search(r"```python\n(.*?)```", str(render_card(facts)), flags=re.DOTALL)
    compile(snippet[1], "card", "exec")
    assert f'"{facts.title}"' in snippet[1]


def test_local_paths_are_told_by_their_last_name(tmp_path):
    source, helper, corpus = (f"{tmp_path}/{name}" for name in ("source", "helper model", "de.txt.gz"))
    facts = replace(
        FULL,
        title=f"{tmp_path}/german",
        base_model=source,
        helper=helper,
        corpus=replace(FULL.corpus, name=corpus),
        recipe=yaml.safe_dump({"source": source, "alternatives": [{"helper": helper}], "data": {"corpus": corpus}}),
        command=f"{tmp_path}/bin/hf-xlt run clp --source={source} --helper '{helper}' --set data.corpus={corpus} "
        "--output out/german",
    )
    card = render_card(facts)
    assert str(tmp_path) not in str(card)
    assert '\nname = "german"' in card.text
    assert card.data.base_model is None, "a folder of this machine is no repository"
    assert "`source`" in card.text
    assert "```bash\nhf-xlt run clp --source=source --helper 'helper model' --set data.corpus=de.txt.gz" in card.text
    assert "--output out/german" in card.text
    recipe = yaml.safe_load(card.text.split("```yaml")[1].split("```")[0])
    assert recipe == {"source": "source", "alternatives": [{"helper": "helper model"}], "data": {"corpus": "de.txt.gz"}}


def test_relative_folders_are_told_by_their_last_name(tmp_path, monkeypatch):
    (tmp_path / "models" / "english").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    card = render_card(replace(FULL, base_model="models/english"))
    assert card.data.base_model is None
    assert "`english`" in card.text
    assert "models/english" not in card.text


def test_metadata_leaves_out_a_source_whose_name_cannot_be_an_id():
    card = render_card(replace(FULL, base_model="/data/my model"))
    assert card.data.base_model is None
    assert "`my model`" in card.text


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"title": ""}, "title is ''; expected one line"),
        ({"kind": "speaker"}, "'speaker'; expected one of encoder, decoder, encoder-decoder"),
        ({"command": "a\nb"}, "expected one line. Join its words"),
        ({"pictures": {"Learning curves": "/tmp/curves.png"}}, "expected a bare file name"),
        ({"recipe": "- a\n- b"}, "expected a YAML mapping"),
        ({"recipe": "a: [b"}, "expected a YAML mapping"),
    ],
)
def test_wrong_facts_are_refused(wrong, message):
    with pytest.raises(InputError, match=re.escape(message)):
        replace(FULL, **wrong)


def test_installed_versions_are_those_of_the_libraries():
    import torch

    versions = installed_versions()
    assert versions["torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert versions["python"] == ".".join(map(str, sys.version_info[:3]))
    assert {"transformers", "tokenizers", "datasets", "safetensors", "huggingface_hub"} <= set(versions)


@pytest.fixture
def folder(tmp_path):
    """What a run leaves: weights, a nested module of sentence-transformers, a picture, the card."""
    folder = tmp_path / "german model"
    (folder / "1_Pooling").mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    save_file({"weight": torch.arange(300_000.0)}, folder / "model.safetensors")
    (folder / "transport.safetensors").write_bytes(b"rows")
    (folder / "learning_curves.png").write_bytes(b"\x89PNG\x00\xff")
    (folder / "1_Pooling" / "config.json").write_text('{"pooling": "mean"}')
    (folder / "1_Pooling" / "README.md").write_text("Not the card.")
    write_card(folder, FULL)
    return folder


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def online(monkeypatch, tmp_path):
    """Let the client speak to this server, by plain HTTP, and to nothing else."""

    def go(server):
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        monkeypatch.delenv("HF_TOKEN", raising=False)
        monkeypatch.delenv("HUGGING_FACE_HUB_TOKEN", raising=False)
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(constants, "ENDPOINT", server.endpoint)
        close_session()

    yield go
    close_session()


def test_push_uploads_every_byte_in_one_commit(folder, online):
    before = contents(folder)
    with HubServer() as server:
        online(server)
        url = push(folder, "german", private=True, token=TOKEN, commit_message="First try")
    repository = server.repositories["me/german"]
    assert url == f"{server.endpoint}/me/german"
    assert repository.private
    assert repository.files == before == contents(folder)
    assert [commit.message for commit in repository.commits] == ["First try"]
    assert "upload" in server.calls


EARLIER = {
    "model-00001-of-00002.safetensors": "weights of another number of shards are opened first",
    "model.safetensors.index.json": "an index is",
    "pytorch_model.bin": "a format",
    "onnx/model.onnx": "an export",
    "adapter_config.json": "adapters are put on the model",
    "adapter_model.safetensors": "adapters",
    "tokenizer.model": "a tokenizer of another kind",
    "vocab.txt": "likewise",
    "tekken.json": "likewise",
    "special_tokens_map.json": "likewise",
    "generation_config.json": "settings",
    "chat_template.jinja": "a template of another tokenizer",
    "modeling_trelm.py": "code",
    "modules.json": "a list of modules",
    "2_Dense/config.json": "a module",
    "2_Dense/model.safetensors": "a module's weights",
    "trade_off.png": "a picture of another run",
}
OWN = (".gitattributes", "LICENSE", "NOTICE.txt", "CHANGELOG.md", "logo.png", "images/map.svg", "examples/text.csv",
       "notebook.ipynb", "handler.py", "requirements.txt", ".eval_results/mteb.yaml")  # fmt: skip


@pytest.fixture
def used(online):
    """A Hub with a repository that holds an earlier model and files of the user's own."""
    with HubServer() as server:
        files = dict.fromkeys((*EARLIER, *OWN, "config.json", "README.md"), b"old")
        server.repositories["me/german"] = Repository(private=False, commits=[Commit("Before", files)])
        online(server)
        yield server


def test_push_deletes_what_an_earlier_model_left_and_nothing_else_in_the_same_commit(folder, used):
    push(folder, "german", token=TOKEN)
    repository = used.repositories["me/german"]
    assert repository.files == contents(folder) | dict.fromkeys(OWN, b"old")
    assert set(repository.commits[-1].deleted) == set(EARLIER)
    assert len(repository.commits) == 2


def test_plan_of_an_upload_changes_nothing(folder, used):
    upload = plan_upload(folder, "me/german", token=TOKEN)
    assert set(upload.files) == set(contents(folder))
    assert set(upload.deleted) == set(EARLIER)
    assert len(used.repositories["me/german"].commits) == 1


def test_plan_of_an_upload_makes_no_repository(folder, online):
    with HubServer() as server:
        online(server)
        assert plan_upload(folder, "german", token=TOKEN).repo_id == "me/german"
    assert not server.repositories


def test_dry_run_says_what_would_be_uploaded_and_deleted(folder, used, monkeypatch, capsys):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setattr(sys, "argv", ["hf-xlt", "push", str(folder), "me/german", "--dry-run"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert not ended.value.code
    lines = capsys.readouterr().out.splitlines()
    assert {line for line in lines if line.startswith("upload ")} == {f"upload {path}" for path in contents(folder)}
    assert {line for line in lines if line.startswith("delete ")} == {f"delete {path}" for path in EARLIER}
    assert len(used.repositories["me/german"].commits) == 1


@pytest.mark.parametrize("call", ["batch", "upload", "commit"])
def test_a_push_that_fails_leaves_the_earlier_model_whole(folder, used, call):
    before = used.repositories["me/german"].files
    used.refuse = call
    with pytest.raises(UploadError, match=f"no {call} today"):
        push(folder, "me/german", token=TOKEN)
    assert used.repositories["me/german"].files == before


def test_push_is_refused_where_the_repository_has_changed_meanwhile(folder, used):
    upload = plan_upload(folder, "me/german", token=TOKEN)
    used.repositories["me/german"].commits.append(Commit("Another's", {"model-00009.safetensors": b"other"}))
    with pytest.raises(UploadError, match="A commit has happened since"):
        upload.carry_out()
    assert "model-00009.safetensors" in used.repositories["me/german"].files
    push(folder, "me/german", token=TOKEN)
    assert "model-00009.safetensors" not in used.repositories["me/german"].files


def test_what_is_to_be_private_does_not_go_into_a_public_repository(folder, used):
    with pytest.raises(InputError, match="exists and is public"):
        push(folder, "me/german", private=True, token=TOKEN)
    assert len(used.repositories["me/german"].commits) == 1


def test_push_leaves_hidden_files_here(folder, online):
    before = contents(folder)
    (folder / ".env").write_text("HF_TOKEN=secret")
    (folder / ".cache").mkdir()
    (folder / ".cache" / "lock").write_text("")
    (folder / ".gitattributes").write_text("*.safetensors filter=lfs\n")
    with HubServer() as server:
        online(server)
        push(folder, "me/german", token=TOKEN)
    assert server.repositories["me/german"].files == before | {".gitattributes": b"*.safetensors filter=lfs\n"}


def test_push_takes_a_model_whose_transformer_lies_in_a_folder_of_its_own(folder, online):
    (folder / "0_Transformer").mkdir()
    for name in ("config.json", "model.safetensors"):
        (folder / name).rename(folder / "0_Transformer" / name)
    modules = [
        {"idx": 0, "path": "0_Transformer", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    with HubServer() as server:
        online(server)
        push(folder, "me/german", token=TOKEN)
    assert server.repositories["me/german"].files == contents(folder)
    (folder / "0_Transformer" / "config.json").unlink()
    with pytest.raises(InputError, match="0_Transformer has no config.json"):
        push(folder, "me/german")


@pytest.mark.parametrize("form", ["static", "onnx"])
def test_push_takes_what_export_writes(folder, online, form):
    if form == "static":
        types = [f"sentence_transformers.models.{kind}" for kind in ("StaticEmbedding", "Normalize")]
        modules = [{"idx": idx, "path": path, "type": types[idx]} for idx, path in enumerate((".", "1_Normalize"))]
        (folder / "modules.json").write_text(json.dumps(modules))
    else:
        (folder / "model.safetensors").rename(folder / "model.onnx.data")
        (folder / "model.onnx").write_bytes(b"graph")
    with HubServer() as server:
        online(server)
        push(folder, "me/german", token=TOKEN)
    assert server.repositories["me/german"].files == contents(folder)


def test_push_refuses_an_index_whose_shards_are_not_all_there(folder):
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    index = {"weight_map": {"weight": "model-00001-of-00002.safetensors", "bias": "model-00002-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(InputError, match="model-00002-of-00002.safetensors is not a whole safetensors file"):
        push(folder, "me/german")


@pytest.mark.parametrize("content", [b"---\n- a\n---\n", b"---\na: [b\n---\n", b"\xff"])
def test_push_refuses_a_card_that_the_hub_cannot_read(folder, content):
    (folder / "README.md").write_bytes(content)
    with pytest.raises(InputError, match="README.md cannot be read"):
        push(folder, "me/german")


def test_push_names_the_repository_as_the_base_of_adapters_that_lie_beside_it(folder, online):
    (folder / "adapter_config.json").write_text('{"r": 4, "base_model_name_or_path": "german"}')
    before = contents(folder)
    with HubServer() as server:
        online(server)
        push(folder, "german", token=TOKEN)
    uploaded = server.repositories["me/german"].files
    assert json.loads(uploaded["adapter_config.json"]) == {"r": 4, "base_model_name_or_path": "me/german"}
    assert contents(folder) == before
    assert uploaded.keys() == before.keys()


def test_push_tells_no_place_of_a_recipes_files(folder, online):
    (folder / "recipe.yaml").write_text("name: clp\nsource: /home/me/english\ndata:\n  corpus: ~/de.txt.gz\nno: true\n")
    before = contents(folder)
    with HubServer() as server:
        online(server)
        push(folder, "german", token=TOKEN)
    recipe = server.repositories["me/german"].files["recipe.yaml"].decode()
    assert plain_yaml.load(recipe) == {"name": "clp", "source": "english", "data": {"corpus": "de.txt.gz"}, "no": True}
    assert contents(folder) == before


def test_push_again_updates_the_repository(folder, online):
    with HubServer() as server:
        online(server)
        push(folder, "us/german", token=TOKEN)
        (folder / "config.json").write_text('{"vocab_size": 1}')
        push(folder, "us/german", token=TOKEN)
    assert not server.repositories["us/german"].private
    assert server.repositories["us/german"].files == contents(folder)


@pytest.mark.parametrize(
    ("refuse", "committed"),
    [("whoami", None), ("create", None), ("batch", 0), ("upload", 0), ("commit", 0)],
)
def test_failed_push_leaves_the_folder_whole_and_nothing_online(folder, online, refuse, committed):
    before = contents(folder)
    with HubServer(refuse) as server:
        online(server)
        with pytest.raises(UploadError, match=rf"no {refuse} today.*The local folder is whole") as raised:
            push(folder, "german", private=True, token=TOKEN)
    message = str(raised.value)
    assert "\n" not in message
    assert TOKEN not in message
    assert message.replace("me/", "").endswith(f"try again with `hf-xlt push '{folder}' german --private`.")
    assert contents(folder) == before
    if committed is None:
        assert not server.repositories
    else:
        assert len(server.repositories["me/german"].commits) == committed


def test_push_after_a_failure_completes_the_repository(folder, online):
    with HubServer("commit") as server:
        online(server)
        with pytest.raises(UploadError):
            push(folder, "me/german", token=TOKEN)
        server.refuse = None
        push(folder, "me/german", token=TOKEN)
    assert server.repositories["me/german"].files == contents(folder)


def test_push_without_a_token_says_how_to_log_in(folder, online):
    with HubServer() as server:
        online(server)
        with pytest.raises(UploadError, match="hf auth login"):
            push(folder, "me/german")
    assert not server.calls


def test_push_with_a_wrong_token_is_refused(folder, online):
    with HubServer() as server:
        online(server)
        with pytest.raises(UploadError, match="401"):
            push(folder, "me/german", token="hf_wrong")
    assert not server.calls


def test_push_where_nobody_answers_says_how_to_retry(folder, online):
    with HubServer() as server:
        online(server)
    with pytest.raises(UploadError, match="refused.*try again"):
        push(folder, "me/german", token=TOKEN)


def test_push_offline_says_so(folder):
    with pytest.raises(UploadError, match="HF_HUB_OFFLINE"):
        push(folder, "me/german", token=TOKEN)


@pytest.mark.slow
def test_push_follows_the_usual_environment(folder, tmp_path):
    script = "import sys; from hf_xlt.hub.push import push; print(push(sys.argv[1], 'me/german'))"
    with HubServer() as server:
        settings = {
            "HF_ENDPOINT": server.endpoint,
            "HF_TOKEN": TOKEN,
            "HF_HOME": str(tmp_path / "home"),
            "HF_HUB_OFFLINE": "0",
            "HF_HUB_DISABLE_XET": "1",
            "no_proxy": "127.0.0.1",
        }
        done = subprocess.run(
            [sys.executable, "-c", script, str(folder)], env=os.environ | settings, capture_output=True, text=True
        )
    assert done.stdout.strip() == f"{server.endpoint}/me/german", done.stderr
    assert server.repositories["me/german"].files == contents(folder)


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("config.json", "has no config.json"),
        ("model.safetensors", "has no model.safetensors"),
        ("README.md", "has no model card"),
    ],
)
def test_push_refuses_an_incomplete_folder(folder, missing, message):
    (folder / missing).unlink()
    with pytest.raises(InputError, match=re.escape(message)):
        push(folder, "me/german")


def test_push_refuses_what_is_no_folder(tmp_path):
    with pytest.raises(InputError, match="nowhere is not a folder"):
        push(tmp_path / "nowhere", "me/german")


def test_push_refuses_pickles_wherever_they_lie(folder):
    (folder / "training_args.bin").write_bytes(b"")
    (folder / "1_Pooling" / "old.pt").write_bytes(b"")
    with pytest.raises(InputError, match=r"pickled files \(1_Pooling/old.pt, training_args.bin\)"):
        push(folder, "me/german")


@pytest.mark.parametrize("repo_id", ["", "a/b/c", "me/ger man", "-x", "me/x.git"])
def test_push_refuses_what_is_no_repository_id(folder, repo_id):
    with pytest.raises(InputError, match="expected name or namespace/name"):
        push(folder, repo_id)
