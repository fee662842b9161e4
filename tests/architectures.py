"""Every language model of the installed transformers, as small as its configuration allows."""

import re

import torch
import transformers
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_MASKED_LM_MAPPING_NAMES,
    MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES,
)

# Pattern of a field's name → its value in a small model.
SIZES = {
    r"((attention|encoder|decoder|emb)_)?hidden_size|d_model|n_embd|n_embed|(emb_|embed_|model_)?dim|lru_width": 32,
    r"embedding_size|(input|output)_embedding_size|word_embed_proj_dim|true_hidden_size|intra_bottleneck_size": 32,
    r"n_layers?|(num_)?((hidden|encoder|decoder)_)?layers|num_blocks|first_k_dense_replace": 2,
    r"n_heads?|num_heads|attention_heads|num_q_heads|(num_)?(encoder_|decoder_)?attention_heads": 4,
    r"num_(key_value|kv)_heads|n_head_kv|multi_query_group_num": 4,
    r"\w*intermediate_size|((en|de)coder_)?ffn_dim|d_ff|n_inner|d_inner|dff|hidden_dim|(\w*ffn|mlp)_hidden_size": 64,
    r"(global_|attention_)?head_dim|d_kv|d_head|kv_channels|head_size|qk_(nope|rope)_head_dim|v_head_dim|rotary_dim": 8,
    r"max_((en|de)coder_)?position_embeddings|n_positions|max_seq_len|context_length|n_ctx|seq_length": 96,
    r"num_(local_|routed_)?experts|n_routed_experts|moe_num_experts": 4,
    r"num_(selected_)?experts_per_tok(en)?|moe_topk|top_k_experts": 2,
    r"[qko]_lora_rank|kv_lora_rank": 16,
    r"n_groups?|topk_group|num_expert_groups": 1,
    r"mamba_n_heads|mamba_num_heads": 8,
    r"entity_vocab_size|shape_vocab_size|pronunciation_vocab_size": 10,
    r"num_latents|d_latents|num_landmarks": 16,
    r"hidden_size_per_layer_input": 8,
}
FIRST_AND_LAST = ("layer_types", "mlp_layer_types", "layers_block_type")
"""What does not come of the patterns: model type → fields."""
OVERRIDES: dict[str, dict[str, object]] = {
    "gpt_neo": {"attention_types": [[["global"], 2]]},
    "xmod": {"languages": ["en_XX"], "default_language": "en_XX"},
    "nystromformer": {"segment_means_seq_len": 8, "num_landmarks": 8},
    "zaya": {"num_experts_per_tok": 1},
    "hunyuan_v1_dense": {"head_dim": 8},
    "hunyuan_v1_moe": {"head_dim": 8},
    "ministral": {"head_dim": 8},
    "mamba2": {"num_heads": 8},
    "led": {"attention_window": 8},
    "ernie4_5_moe": {"moe_k": 2},
    "neomme": {"head_dim": 16},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"]},
    "mobilebert": {"embedding_size": 16},
    "nemotron": {"head_dim": 8, "num_key_value_heads": 4},
}


def architectures() -> dict[str, str]:
    """Name of the class → model type, of all classes that the Auto classes of language models open."""
    mappings = (
        MODEL_FOR_MASKED_LM_MAPPING_NAMES,
        MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES,
    )
    found: dict[str, str] = {}
    for mapping in mappings:
        for model_type, names in mapping.items():
            for name in [names] if isinstance(names, str) else names:
                found.setdefault(name, model_type)
    return found


def tiny_config(name: str, **ids: int) -> PreTrainedConfig:
    """The configuration of a class of models, shrunk; `ids` are set where it has such fields."""
    cls = getattr(transformers, name).config_class
    return _shrunk(cls(), ids, OVERRIDES.get(architectures()[name], {}))


def tiny_model(name: str, seed: int = 0, **ids: int) -> PreTrainedModel:
    """A model of a class with random weights, none of them zero or equal to a neighbour's."""
    config = tiny_config(name, **ids)
    if getattr(config, "is_encoder_decoder", False):
        config.decoder_start_token_id = ids.get("decoder_start_token_id")  # not all have it as a field
    torch.manual_seed(seed)
    model = getattr(transformers, name)(config).eval()
    with torch.no_grad():
        for tensor in model.state_dict().values():
            if tensor.is_floating_point() and tensor.ndim <= 2:
                tensor.add_(torch.randn_like(tensor) * 0.1)
    model.tie_weights()
    return model


def _shrunk(config: PreTrainedConfig, ids: dict[str, int], overrides: dict[str, object]) -> PreTrainedConfig:
    changed = {name: _value(name, value, config, ids) for name, value in vars(config).items()}
    parts = {name: value for name, value in vars(config).items() if isinstance(value, PreTrainedConfig)}
    small = {name: _shrunk(part, ids, overrides.get(name, {})).to_dict() for name, part in parts.items()}
    fields = {name: value for name, value in changed.items() if value is not None} | small
    fields |= {name: value for name, value in overrides.items() if name not in parts}
    return type(config)(**fields)


def _value(name: str, value: object, config: PreTrainedConfig, ids: dict[str, int]) -> object:
    """A field's new value; None where it keeps the one it has."""
    if name in ids:
        return ids[name]
    if name in FIRST_AND_LAST and isinstance(value, list) and value:
        return [value[0], value[-1]]
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return next((size for pattern, size in SIZES.items() if re.fullmatch(pattern, name)), None)
