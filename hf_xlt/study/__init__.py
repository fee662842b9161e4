"""The study of emerging cross-lingual structure: a grid of small bilingual models, measured alike."""

from hf_xlt.study.report import CellResult, StudyResults
from hf_xlt.study.run import run_study
from hf_xlt.study.study import Cell, Study, load_study

__all__ = ["Cell", "CellResult", "Study", "StudyResults", "load_study", "run_study"]
