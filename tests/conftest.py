"""Fixtures shared by the tests: nothing here or below may reach the network."""

import os

from hypothesis import settings

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_DATASETS_OFFLINE"] = "1"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

settings.register_profile("shared machine", deadline=None)
settings.load_profile("shared machine")
