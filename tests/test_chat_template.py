"""A model keeps the chat template whose special tokens its new tokenizer has; else it is said which are missing."""

import copy

import pytest
import tiny
from test_checkpoint import permuting

from hf_xlt.checkpoint.chat import Chat
from hf_xlt.checkpoint.open import Checkpoint
from hf_xlt.checkpoint.rewrite import revocabulary
from hf_xlt.checkpoint.tokenizer import open_tokenizer
from hf_xlt.errors import InputError

TURNS = "{{ bos_token }}{% for m in messages %}<|turn|>{{ m['role'] }}\n{{ m['content'] }}<|end|>{% endfor %}"
PLAIN = "{% for m in messages %}{{ m['content'] }}\n{% endfor %}"


def with_tokens(*tokens, template=None):
    tok = copy.deepcopy(tiny.tokenizer("en", "byte-level-bpe"))
    tok.add_special_tokens({"additional_special_tokens": list(tokens)})
    tok.chat_template = template
    return tok


def test_the_tokenizers_own_comes_first():
    own, former = with_tokens(template=PLAIN), with_tokens("<|turn|>", "<|end|>", template=TURNS)
    chat = Chat.choose(None, own, former)
    assert (chat.templates, chat.notice) == (PLAIN, None)


def test_the_sources_is_kept_where_the_tokenizer_has_its_special_tokens():
    new, former = with_tokens("<|end|>", "<|turn|>"), with_tokens("<|turn|>", "<|end|>", template=TURNS)
    chat = Chat.choose(None, new, former)
    assert (chat.templates, chat.notice) == (TURNS, None)


def test_the_sources_is_left_out_where_tokens_are_missing_and_they_are_named():
    chat = Chat.choose(None, with_tokens("<|end|>"), with_tokens("<|turn|>", "<|end|>", "<|x|>", template=TURNS))
    assert chat.templates is None
    assert chat.missing == ("<|turn|>",)
    assert "<|turn|>" in chat.notice
    assert "--chat-template" in chat.notice


def test_a_role_that_a_template_writes_must_be_there():
    new, former = with_tokens("<|turn|>", "<|end|>"), with_tokens("<|turn|>", "<|end|>", template=TURNS)
    new.bos_token = None
    assert Chat.choose(None, new, former).missing == ("bos_token",)


def test_of_several_templates_those_that_fit_are_kept():
    former = with_tokens("<|turn|>", "<|end|>", template={"default": PLAIN, "tool_use": TURNS})
    chat = Chat.choose(None, with_tokens(), former)
    assert chat.templates == {"default": PLAIN}
    assert chat.missing == ("<|turn|>", "<|end|>")


def test_what_is_asked_for_is_taken(tmp_path):
    own, former = with_tokens(template=PLAIN), with_tokens("<|turn|>", template=TURNS)
    file = tmp_path / "chat.jinja"
    file.write_text("{{ messages }}!")
    assert Chat.choose("source", own, former).templates == TURNS
    assert Chat.choose("source", own, former).missing == ("<|turn|>",)
    assert Chat.choose("tokenizer", with_tokens(), former).templates is None
    assert Chat.choose(str(file), own, former).templates == "{{ messages }}!"


def test_what_cannot_be_taken_is_refused(tmp_path):
    own = with_tokens(template=PLAIN)
    with pytest.raises(InputError, match="no chat template"):
        Chat.choose("source", own, with_tokens())
    with pytest.raises(InputError, match="cannot be read"):
        Chat.choose(str(tmp_path / "none.jinja"), own, None)
    broken = tmp_path / "broken.jinja"
    broken.write_text("a\n{% for %}")
    with pytest.raises(InputError, match="is no Jinja template") as refused:
        Chat.choose(str(broken), own, None)
    assert refused.value.line == 2


def test_without_any_chat_there_is_nothing_to_say():
    assert Chat.choose(None, with_tokens(), with_tokens()) == Chat(None)


@pytest.mark.parametrize("templates", [TURNS, {"default": TURNS, "tool_use": PLAIN}])
def test_a_model_is_saved_with_it(templates, tmp_path):
    former = with_tokens("<|turn|>", "<|end|>", template=templates)
    new = with_tokens("<|end|>", "<|turn|>")
    source = tiny.save(tiny.model("llama", former), former, tmp_path / "source")
    target = revocabulary(Checkpoint.open(source), permuting(len(new)), new, tmp_path / "target")
    assert open_tokenizer(target).chat_template == templates
    assert new.chat_template is None
    other = revocabulary(
        Checkpoint.open(source), permuting(len(new)), new, tmp_path / "other", chat_template="tokenizer"
    )
    assert open_tokenizer(other).chat_template is None
    assert not (other / "additional_chat_templates").exists()
