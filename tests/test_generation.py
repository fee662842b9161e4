"""What a decoder writes: its language by trigrams, repetition, length and stops, against plain computations."""

import math
from collections import Counter

import numpy as np
import pytest
import tiny
import torch
from transformers import AutoModelForCausalLM, GenerationConfig

from hf_xlt import ModelSpec, compare_models, evaluate_model
from hf_xlt.data.token_stream import Frame
from hf_xlt.evaluation.tasks.generation import Answer, Generation, WrittenText, prompt_ids, repeated
from hf_xlt.evaluation.trigrams import TwoLanguages, learned, trigrams
from hf_xlt.sample import sentences

PROMPTS = ["Das Wasser", "Die Frau", "Der Hund"]
TEMPLATE = (
    "{% for message in messages %}{{ bos_token }}{{ message['content'] }}{{ eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}{{ bos_token }}{% endif %}"
)
ENGLISH, GERMAN = sentences("en", "train"), sentences("de", "train")


class TestTwoLanguages:
    def test_weights_are_log_likelihood_ratios(self):
        target, source = ["Der Hund, der!"], ["the dog der"]
        found = TwoLanguages.learn(target, source).weights
        ours, theirs = Counter(trigrams(target[0])), Counter(trigrams(source[0]))
        assert ours == {" de": 2, "der": 2, "er ": 2, "r h": 1, " hu": 1, "hun": 1, "und": 1, "nd ": 1, "d d": 1}
        total = len(ours | theirs) + 1
        for gram in ours | theirs:
            p, q = ((c[gram] + 1) / (c.total() + total) for c in (ours, theirs))
            assert found[gram] == pytest.approx(math.log(p / q))

    @pytest.mark.parametrize("text", ["", "1984 + 16!", "🙂", "   "])
    def test_a_text_without_letters_is_in_neither_language(self, text):
        assert not any(trigrams(text))
        assert not TwoLanguages.learn(GERMAN, ENGLISH).is_target(text)
        assert not TwoLanguages.learn(ENGLISH, GERMAN).is_target(text)

    def test_marks_belong_to_their_letters(self):
        assert list(trigrams("हिन्दी")) == [" हि", "हिन", "िन्", "न्द", "्दी", "दी "]
        assert list(trigrams("o\u0323\u0301")) == list(trigrams("ọ\u0301"))

    def test_more_text_of_one_language_does_not_favor_it(self):
        few = GERMAN[:60]
        one, other = TwoLanguages.learn(few, ENGLISH), TwoLanguages.learn(few, ENGLISH[:62])
        judged = [[languages.is_target(line) for line in sentences("en", "held_out")] for languages in (one, other)]
        assert np.mean(judged[0]) == pytest.approx(np.mean(judged[1]), abs=0.05)
        assert np.mean(judged[0]) < 0.1

    def test_held_out_lines_are_told_apart(self):
        languages, accuracy = learned(GERMAN, ENGLISH)
        right = [languages.is_target(line) for line in sentences("de", "held_out")]
        right += [not languages.is_target(line) for line in sentences("en", "held_out")]
        assert np.mean(right) > 0.97
        assert accuracy > 0.97

    @pytest.mark.parametrize(
        ("target", "source"), [(GERMAN, GERMAN), (["1", "2"], ["3", "4"]), (GERMAN, ["1", "2", "!"])]
    )
    def test_texts_that_cannot_be_told_apart_are_refused(self, target, source):
        assert tiny.refusal(learned, target, source).value <= 0.75

    @pytest.mark.parametrize("lines", [[], ["Der Hund"]])
    def test_too_little_text_is_refused(self, lines):
        assert tiny.refusal(learned, lines, ENGLISH).value == len(lines)
        assert tiny.refusal(learned, GERMAN, lines).value == len(lines)


class TestScores:
    @pytest.mark.parametrize("text", ["", "kurz", "Der Hund und die Katze.", "und " * 30, "a" * 40, "狗和猫" * 20])
    def test_repeated_ngrams_are_those_that_were_there_before(self, text):
        seen, again, count = set(), 0, 0
        for i in range(max(0, len(text) - 15)):
            gram = text[i : i + 16]
            again, count = again + (gram in seen), count + 1
            seen.add(gram)
        assert repeated(text) == (again, count)

    def test_they_are_shares_of_answers_and_of_ngrams(self):
        answers = [
            Answer("a" * 20, True),
            Answer("abcdefghijklmnopqrst", False),
            Answer("", True),
            Answer("Hund", False),
        ]
        scores = WrittenText().compute(answers, [False, True, False, True])
        assert scores == {"target_language": 0.5, "repetition": 4 / 10, "characters": 44 / 4, "stops": 0.5}

    def test_nothing_written_scores_nothing(self):
        scores = WrittenText().compute([Answer("", False)], [False])
        assert set(scores.values()) == {0.0}


@pytest.fixture
def places(tmp_path):
    files = {"test": PROMPTS, "train": GERMAN, "dev": ENGLISH}
    for role, lines in files.items():
        (tmp_path / f"{role}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return {role: str(tmp_path / f"{role}.txt") for role in files}


def saved(folder, kind="llama", chat=False, **overrides):
    tok = tiny.tokenizer("de", "byte-level-bpe")
    folder = tiny.save(tiny.model(kind, tok, **overrides), tok, folder)
    if chat:
        (folder / "chat_template.jinja").write_text(TEMPLATE, encoding="utf-8")
    return folder, tok


@pytest.mark.parametrize("chat", [False, True])
def test_answers_are_greedy_continuations_of_the_prompts(places, tmp_path, chat):
    folder, tok = saved(tmp_path / "model", chat=chat)
    outcome = Generation(tokens=8).measure(ModelSpec(str(folder)), places)
    model = AutoModelForCausalLM.from_pretrained(folder)
    for prompt in PROMPTS:
        text = tok(prompt, add_special_tokens=False)["input_ids"]
        turn = [tok.bos_token_id, *text, tok.eos_token_id, tok.bos_token_id]
        ids = turn if chat else [*Frame.of(tok).opening, *text]
        begin = len(ids)
        for _ in range(8):
            ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
            if ids[-1] == tok.eos_token_id:
                break
        wanted = " ".join(tok.decode(ids[begin:], skip_special_tokens=True).split())
        assert outcome.notes[f"answer to {prompt!r}"] == wanted
    assert outcome.notes["chat"] == ("yes" if chat else "no")
    assert outcome.notes["tokens at most"] == 8
    lengths = [len(outcome.notes[f"answer to {prompt!r}"]) for prompt in PROMPTS]
    assert outcome.counts[:, 4].tolist() == lengths


def test_an_answer_that_ends_with_a_stop_token_stops(places, tmp_path):
    folder, tok = saved(tmp_path / "model")
    opened = AutoModelForCausalLM.from_pretrained(folder)
    ids = torch.tensor([prompt_ids(tok, PROMPTS[0])])
    third = int(opened.generate(ids, max_new_tokens=3, do_sample=False, eos_token_id=[])[0, -1])
    opened.generation_config = GenerationConfig(eos_token_id=[tok.eos_token_id, third], pad_token_id=tok.pad_token_id)
    opened.save_pretrained(folder)
    places["test"] = str(tmp_path / "one.txt")
    (tmp_path / "one.txt").write_text(PROMPTS[0] + "\n", encoding="utf-8")
    stopped = Generation(tokens=8).measure(ModelSpec(str(folder)), places)
    assert stopped.counts[:, 5].tolist() == [1]
    cut = Generation(tokens=1).measure(ModelSpec(str(folder)), places)
    assert cut.counts[:, 5].tolist() == [float(third == int(opened.generate(ids, max_new_tokens=1)[0, -1]))]


def test_a_model_without_room_for_all_tokens_writes_as_many_as_there_is_room_for(places, tmp_path):
    folder, tok = saved(tmp_path / "model", max_position_embeddings=12)
    outcome = Generation().measure(ModelSpec(str(folder)), places)
    assert outcome.notes["tokens at most"] == 12 - max(len(prompt_ids(tok, prompt)) for prompt in PROMPTS)


class TestRefusals:
    def test_a_prompt_that_fills_all_positions(self, places, tmp_path):
        folder, tok = saved(tmp_path / "model", max_position_embeddings=3)
        refused = tiny.refusal(Generation().measure, ModelSpec(str(folder)), places)
        assert refused.value == max(len(prompt_ids(tok, prompt)) for prompt in PROMPTS)

    def test_an_encoder(self, places, tmp_path):
        tok = tiny.tokenizer("de", "wordpiece")
        folder = tiny.save(tiny.model("bert", tok), tok, tmp_path / "bert")
        assert tiny.refusal(Generation().measure, ModelSpec(str(folder)), places).value == "encoder"

    def test_a_chat_template_that_takes_no_prompt(self, places, tmp_path):
        folder, _ = saved(tmp_path / "model")
        (folder / "chat_template.jinja").write_text("{{ raise_exception('system first') }}", encoding="utf-8")
        assert tiny.refusal(Generation().measure, ModelSpec(str(folder)), places).value == PROMPTS[0]

    def test_no_prompts(self, places, tmp_path):
        (tmp_path / "test.txt").write_text("\n\n", encoding="utf-8")
        refused = tiny.refusal(Generation().measure, ModelSpec("nothing-here"), places)
        assert refused.value == places["test"]


@pytest.mark.slow
def test_it_is_measured_and_compared_like_any_task(places, tmp_path):
    names = [str(saved(tmp_path / name, seed=seed)[0]) for seed, name in enumerate(("one", "other"))]
    first = evaluate_model(names[0], ["generation"], {"generation": places}, output=tmp_path / "results")
    assert set(first[0].runs[0].scores) == {"target_language", "repetition", "characters", "stops"}
    again = evaluate_model(names[0], ["generation"], {"generation": places})
    assert again[0].runs == first[0].runs
    compared = compare_models(names, ["generation"], {"generation": places}, output=tmp_path / "results")
    assert compared.results["generation"][1].difference is not None
    assert "target_language" in (tmp_path / "results" / "report.html").read_text(encoding="utf-8")
