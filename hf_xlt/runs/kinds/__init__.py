"""Kinds of run: what a recipe becomes, one class each."""

from hf_xlt.errors import InputError
from hf_xlt.recipes.recipe import Recipe
from hf_xlt.recipes.settings import SettingError, one_of
from hf_xlt.runs.kinds.bilingual import Bilingual
from hf_xlt.runs.kinds.distillation import Distillation
from hf_xlt.runs.kinds.kind import Kind
from hf_xlt.runs.kinds.multilingual import Continued, Multilingual
from hf_xlt.runs.kinds.new_model import NewModel
from hf_xlt.runs.kinds.transfer import Transfer
from hf_xlt.runs.kinds.trelm import TreLM

__all__ = ["KINDS", "Kind", "kind_of_run", "register_kind"]

# The name that a recipe gives a kind. The first that fits a recipe without one is its kind.
KINDS: dict[str, type[Kind]] = {
    kind.name: kind for kind in (Continued, Multilingual, NewModel, Bilingual, TreLM, Distillation, Transfer)
}


def register_kind(kind: type[Kind]) -> None:
    """Make a kind of run known; a recipe names it as its `kind`. Another kind of the same name is refused."""
    if KINDS.setdefault(kind.name, kind) is not kind:
        raise InputError(f"There is a kind {kind.name!r} already", value=kind.name, expected="a name of its own")


def kind_of_run(recipe: Recipe) -> type[Kind]:
    """What kind of run a recipe is: the one that it names, or the first that fits."""
    if recipe.kind is not None:
        one_of("kind", recipe.kind, tuple(KINDS))
        return KINDS[recipe.kind]
    fits = next((kind for kind in KINDS.values() if kind.fits(recipe)), None)
    if fits is None:
        raise SettingError("initializer", "is missing", expected="how rows are made, or in its place a `model`")
    return fits
