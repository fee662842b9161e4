"""The same tokens under other ids make the same model: an oracle that needs no tolerance, over every architecture.

The target tokenizer is the source's own with its ids permuted, so that every row is copied, and the logits of the new
model are the source's, permuted, to the bit. What depends on the value of an id, in code or in settings, shows.
"""

import json
import random

import pytest
import torch
from architectures import architectures, tiny_model
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from hf_xlt import MeanInitializer
from hf_xlt.errors import InputError

ROLES = {"bos": "<s>", "pad": "<pad>", "eos": "</s>", "unk": "<unk>", "mask": "<mask>"}
ROWS = 352  # more than there are tokens: padded

# Classes for which building a model costs more than a test may.
HEAVY = {
    "BltForCausalLM": "patches of bytes, with several tables of hashes",
    "Gemma3nForConditionalGeneration": "its images need timm",
    "KimiLinearForCausalLM": "takes many seconds",
    "VibeVoiceAsrForConditionalGeneration": "its configuration of sounds is large and does not shrink",
}
# Classes that cannot be built from a default configuration made smaller, and what they raise.
UNBUILT = {
    "BailingHybridForCausalLM": RuntimeError,  # sizes of its rotary embedding that do not follow from others
    "CohereCompassForCausalLM": KeyError,  # its default configuration has no rotary embedding for all kinds of layers
    "DbrxForCausalLM": AttributeError,  # the same
    "Gemma3nForCausalLM": ValueError,  # layers that share caches with earlier ones
    "Gemma4AssistantForCausalLM": Exception,  # a draft model: its default configuration is refused
    "Gemma4UnifiedAssistantForCausalLM": ValueError,  # the same
    "MusicgenForCausalLM": RuntimeError,  # reads sounds in several codebooks, not text
    "MusicgenMelodyForCausalLM": RuntimeError,  # the same
    "Nemotron3_5TranscribeForConditionalGeneration": Exception,  # sizes of two configurations have to agree
    "Qwen4ExpForCausalLM": TypeError,  # its default configuration leaves out a number of heads
    "ReformerForMaskedLM": ValueError,  # factors of its axial positions have to agree with its size
    "ReformerModelWithLMHead": AssertionError,  # the same, and a decoder only if told
    "VoxtralRealtimeForConditionalGeneration": ValueError,  # wants sounds beside text
}
# Classes whose vocabulary cannot be exchanged, and the reason that is told.
REFUSED = {
    "CpmAntForCausalLM": "counts 352 and 1376 tokens",  # prompts lie behind the tokens
    "DeepseekV4ForCausalLM": "tid2eid says something of each token in whole numbers",  # its experts, by a hash
    "Emu3ForCausalLM": "no masked, causal or sequence-to-sequence",
    "MllamaForCausalLM": "counts 352 and 360 tokens",  # images lie behind the tokens
    "MoshiForCausalLM": "counts 352 and 353 tokens",
    "PerceiverForMaskedLM": "has no token embeddings",
}

# fmt: skip
# Classes that count positions from the id of padding, each in a way of its own.
COUNTING = (
    "RobertaForMaskedLM", "MPNetForMaskedLM", "IBertForMaskedLM", "XGLMForCausalLM",
    "M2M100ForConditionalGeneration", "ProphetNetForConditionalGeneration",
)  # fmt: skip
NEEDING_PAD = {*COUNTING, "T5ForConditionalGeneration", "BartForConditionalGeneration", "XLMWithLMHeadModel"}
FAMILIES = (
    "BertForMaskedLM", "RobertaForMaskedLM", "LlamaForCausalLM", "GPT2LMHeadModel", "T5ForConditionalGeneration",
    "BartForConditionalGeneration",
)  # fmt: skip


def source_tokenizer():
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {token: id_ for id_, token in enumerate([*ROLES.values(), *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocab, [], unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    frame = [(token, vocab[token]) for token in ("<s>", "</s>")]
    tokenizer.post_processor = processors.TemplateProcessing("<s> $A </s>", "<s> $A </s> $B </s>", frame)
    return wrapped(tokenizer)


def wrapped(tokenizer):
    roles = {f"{role}_token": token for role, token in ROLES.items()}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, cls_token="<s>", sep_token="</s>", **roles)


def permuted(tokenizer, pad):
    """The same tokens under other ids, `pad` that of padding."""
    settings = json.loads(tokenizer.backend_tokenizer.to_str())
    old = settings["model"]["vocab"]
    ids = [*range(len(old))]
    random.Random(1).shuffle(ids)
    new = dict(zip(old, ids, strict=True))
    holder = next(token for token, id_ in new.items() if id_ == pad)
    new[holder], new["<pad>"] = new["<pad>"], pad
    settings["model"]["vocab"] = new
    for token in settings["added_tokens"]:
        token["id"] = new[token["content"]]
    for token, special in settings["post_processor"]["special_tokens"].items():
        special["ids"] = [new[token]]
    settings["padding"] = None  # a call with padding leaves its mark, and the name of a padding token
    return wrapped(Tokenizer.from_str(json.dumps(settings)))


SOURCE = source_tokenizer()
TEXTS = ["It was a long day.", "A day."]
SOURCE_IDS = SOURCE(TEXTS, return_tensors="pt", padding=True, return_token_type_ids=False)
IDS = {f"{role}_token_id": SOURCE.convert_tokens_to_ids(token) for role, token in ROLES.items()}


def source_model(name, **fields):
    sizes = {"vocab_size": ROWS, "vocab_size_per_layer_input": ROWS}
    return tiny_model(name, **sizes | IDS | {"decoder_start_token_id": IDS["eos_token_id"]} | fields)


@torch.no_grad()
def logits(model, inputs):
    if getattr(model.config, "is_encoder_decoder", False):
        inputs = {**inputs, "decoder_input_ids": inputs["input_ids"]}
    return model(**inputs, use_cache=False).logits


def new_ids(tokenizer):
    """The new id of each old one."""
    vocab = tokenizer.get_vocab()
    return torch.tensor([vocab[SOURCE.convert_ids_to_tokens(id_)] for id_ in range(len(SOURCE))])


def saved(model, folder):
    model.save_pretrained(folder)
    SOURCE.save_pretrained(folder)
    return folder


def difference(model, inputs, source):
    """The largest difference between the logits of a swapped model and the source's, where there is text."""
    ids, read = new_ids(inputs.tokenizer), SOURCE_IDS["attention_mask"].bool()
    assert torch.equal(ids[SOURCE_IDS["input_ids"]], inputs["input_ids"])
    got, expected = logits(model, inputs), logits(source, SOURCE_IDS)
    return (got[..., ids] - expected[..., : len(ids)])[read].abs().max()


class Inputs(dict):
    """The texts as a tokenizer cuts them."""

    def __init__(self, tokenizer):
        super().__init__(tokenizer(TEXTS, return_tensors="pt", padding=True, return_token_type_ids=False))
        self.tokenizer = tokenizer


def swapped_difference(model, folder, pad=0):
    """The difference that a swap makes, written and opened again."""
    saved(model, folder / "source")
    target = MeanInitializer(folder / "source", permuted(SOURCE, pad)).build(folder / "target")
    source, swapped = (type(model).from_pretrained(folder / name).eval() for name in ("source", "target"))
    return difference(swapped, Inputs(AutoTokenizer.from_pretrained(target)), source)


@pytest.mark.parametrize("name", sorted(architectures()))
@pytest.mark.slow
def test_the_same_tokens_under_other_ids_make_the_same_model(name, tmp_path):
    if name in HEAVY:
        pytest.skip(HEAVY[name])
    if name in UNBUILT:
        with pytest.raises(UNBUILT[name]):
            logits(source_model(name), SOURCE_IDS)
        return
    model = source_model(name)
    logits(model, SOURCE_IDS)
    if name in REFUSED:
        with pytest.raises(InputError, match=REFUSED[name]):
            swapped_difference(model, tmp_path)
        return
    assert swapped_difference(model, tmp_path) == 0


def test_all_that_is_not_tried_exists():
    assert {*HEAVY, *UNBUILT, *REFUSED} <= {*architectures()}


@pytest.mark.parametrize("pad", [0, 2, 9, len(SOURCE) - 1])
@pytest.mark.parametrize("name", COUNTING)
@pytest.mark.slow
def test_positions_are_counted_from_the_same_id_wherever_padding_was(name, pad, tmp_path):
    assert swapped_difference(source_model(name), tmp_path, pad) == 0


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("rows", [len(SOURCE), ROWS])
@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.slow
def test_tied_or_not_and_padded_or_not(name, rows, tied, tmp_path):
    model = source_model(name, vocab_size=rows, tie_word_embeddings=tied)
    assert swapped_difference(model, tmp_path) == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_the_model_in_memory_is_the_one_that_is_written(name, tmp_path):
    model = source_model(name)
    initializer = MeanInitializer(saved(model, tmp_path / "source"), permuted(SOURCE, 0))
    source = type(model).from_pretrained(tmp_path / "source").eval()
    assert difference(initializer.build_model().eval(), Inputs(initializer.tokenizer), source) == 0


@pytest.mark.parametrize("name", FAMILIES)
def test_an_extended_vocabulary_says_the_same_of_the_old_tokens(name, tmp_path):
    model = source_model(name)
    extended = AutoTokenizer.from_pretrained(saved(model, tmp_path / "source"))
    extended.add_tokens(["straße", "für"])
    target = MeanInitializer(tmp_path / "source", extended).build(tmp_path / "target")
    source, swapped = (type(model).from_pretrained(tmp_path / name).eval() for name in ("source", "target"))
    assert difference(swapped, Inputs(AutoTokenizer.from_pretrained(target)), source) == 0


@pytest.mark.parametrize("name", COUNTING)
@pytest.mark.slow
def test_a_text_of_full_length_is_read(name, tmp_path):
    model = source_model(name)
    target = MeanInitializer(saved(model, tmp_path / "source"), permuted(SOURCE, len(SOURCE) - 1)).build(tmp_path / "t")
    tokenizer = AutoTokenizer.from_pretrained(target)
    longest = max(length for length in range(80, 97) if _reads(model, torch.full((1, length), 20)))
    ids = tokenizer("a" * 200, truncation=True, max_length=longest, return_tensors="pt")["input_ids"]
    assert _reads(type(model).from_pretrained(target).eval(), ids)


def _reads(model, ids):
    try:
        logits(model, {"input_ids": ids, "attention_mask": torch.ones_like(ids)})
    except (IndexError, RuntimeError, ValueError):
        return False
    return True


@pytest.mark.parametrize("name", sorted({*FAMILIES, *NEEDING_PAD, "ModernBertForMaskedLM"}))
@pytest.mark.slow
def test_a_tokenizer_without_padding_is_refused_or_works(name, tmp_path):
    model = source_model(name)
    folder = saved(model, tmp_path / "source")
    bare = PreTrainedTokenizerFast(
        tokenizer_object=permuted(SOURCE, 0).backend_tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )
    if name not in NEEDING_PAD:
        swapped = type(model).from_pretrained(MeanInitializer(folder, bare).build(tmp_path / "target"))
        inputs = bare(TEXTS[:1], return_tensors="pt", return_token_type_ids=False)
        assert swapped(**inputs, labels=inputs["input_ids"]).loss.isfinite()
        return
    with pytest.raises(InputError) as refused:
        MeanInitializer(folder, bare)
    assert refused.value.value == "pad"
    helped = MeanInitializer(folder, bare, add_missing_tokens=True).build(tmp_path / "helped")
    source, swapped = (type(model).from_pretrained(place).eval() for place in (folder, helped))
    assert difference(swapped, Inputs(AutoTokenizer.from_pretrained(helped)), source) == 0
