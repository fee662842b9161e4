"""The `hf-xlt` command: parse, call, print."""

from hf_xlt.cli.main import main

__all__ = ["main"]
