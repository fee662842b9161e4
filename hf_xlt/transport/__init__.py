"""The operator that makes target rows out of source rows, and its mixtures."""

from hf_xlt.transport.transport import Counts, Part, Transport

__all__ = ["Counts", "Part", "Transport"]
