"""The study of emerging cross-lingual structure: a grid of small bilingual models, measured alike."""

from hf_xlt.study.cell import CellResult
from hf_xlt.study.report import pictures
from hf_xlt.study.run import run_study
from hf_xlt.study.study import Cell, Study, load_study
from hf_xlt.study.report import tables

__all__ = ["Cell", "CellResult", "Study", "load_study", "pictures", "run_study", "tables"]
