"""Two halves trained apart become one model."""

import pytest
import torch

from hf_xlt.trelm import TreLMConfig, TreLMForMaskedLM
from hf_xlt.trelm.conversion import combine_halves

SHAPE = {"vocab_size": 40, "hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 16, "num_hidden_layers": 4}


def model(seed: int, index: int | None = 2) -> TreLMForMaskedLM:
    torch.manual_seed(seed)
    return TreLMForMaskedLM(TreLMConfig(**SHAPE, languages=["en", "de"], tri_layer_index=index))


def test_each_half_comes_from_its_own_model_and_all_else_is_the_mean():
    below, above, combined = model(1), model(2), model(3)
    combine_halves(combined, below.state_dict(), above.state_dict())
    for part, parameters in combined.parts().items():
        for mine, low, high in zip(parameters, below.part(part), above.part(part), strict=True):
            expected = {"lower": low, "upper": high}.get(part, (low + high) / 2)
            assert torch.equal(mine, expected), part
    assert combined.decoder.weight is combined.get_input_embeddings().weight


def test_a_model_without_a_tri_layer_has_no_halves():
    plain = model(1, index=None)
    with pytest.raises(ValueError, match="'lower' is not a part of this model; expected one of embeddings, layers"):
        combine_halves(plain, plain.state_dict(), plain.state_dict())
