"""Static vectors of token ids, from text and from translation pairs."""

import numpy as np
import tiny
import torch
from transformers import AutoModelForMaskedLM

from hf_xlt.data.objectives import special_ids
from hf_xlt.data.token_stream import token_stream
from hf_xlt.recipes import load_recipe
from hf_xlt.runs.kinds.new_model import NewModel
from hf_xlt.runs.vectors import merged_pairs, token_vectors
from hf_xlt.sample import sentences


def test_both_sides_of_a_pair_become_one_text_in_the_order_of_their_places():
    tokenizer = tiny.tokenizer("en", "wordpiece")
    pairs = list(zip(sentences("en", "train")[:20], sentences("de", "train")[:20], strict=True))
    for merged, pair in zip(merged_pairs(pairs, tokenizer), pairs, strict=True):
        sides = [tokenizer(side, add_special_tokens=False)["input_ids"] for side in pair]
        placed = [((i + 0.5) / len(ids), side, id_) for side, ids in enumerate(sides) for i, id_ in enumerate(ids)]
        assert merged.tolist() == [id_ for *_, id_ in sorted(placed, key=lambda item: item[:2])]
    assert not list(merged_pairs((), tokenizer))


def test_frequent_tokens_get_vectors_and_special_ones_are_not_learned_from():
    tokenizer = tiny.tokenizer("en", "wordpiece")
    text = list(token_stream(sentences("en", "train"), tokenizer))
    table, order = token_vectors(text, tokenizer, width=8, epochs=1)
    counts = np.bincount(np.concatenate(text), minlength=len(tokenizer))
    special = set(special_ids(tokenizer).tolist())
    assert set(order.tolist()) == {i for i in np.flatnonzero(counts >= 5).tolist() if i not in special}
    assert (np.diff(counts[order.numpy()]) <= 0).all()
    assert table.shape == (len(tokenizer), 8)
    assert not table[torch.from_numpy(counts) < 5].any()


def test_a_new_model_may_begin_with_them(tmp_path):
    corpus = tmp_path / "en.txt"
    corpus.write_text("\n".join(sentences("en", "train")) + "\n", encoding="utf-8")
    shape = (
        "model={model_type: bert, hidden_size: 16, intermediate_size: 32, num_hidden_layers: 1, num_attention_heads: 2}"
    )
    family = "tokenizer={family: wordpiece, vocab_size: 600}"
    starts = []
    for epochs in (0, 2):
        recipe = load_recipe("scratch", [shape, family, f"data.corpus={corpus}", f"vector_epochs={epochs}"])
        contest = NewModel(recipe).comparison(tmp_path, compare=False)
        starts.append(contest.variants[0].start(0))
        assert isinstance(starts[-1], AutoModelForMaskedLM._model_mapping[type(contest.config)])
    plain, placed = (model.get_input_embeddings().weight for model in starts)
    counts = np.bincount(np.concatenate(list(token_stream(sentences("en", "train"), contest.tokenizer))), minlength=600)
    changed = (plain != placed).any(dim=1)
    assert set(changed.nonzero().squeeze(1).tolist()) <= set(np.flatnonzero(counts >= 5).tolist())
    assert changed.sum() > 200
    lengths = torch.linalg.vector_norm(placed[changed], dim=1)
    torch.testing.assert_close(lengths, torch.linalg.vector_norm(plain, dim=1).mean().expand_as(lengths))
    bodies = [dict(model.named_parameters()) for model in starts]
    for name, parameter in bodies[0].items():
        assert torch.equal(parameter, bodies[1][name]) or "word_embeddings" in name
