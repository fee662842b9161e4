"""The operator that makes target rows out of source rows, and its mixtures."""

from hf_xlt.transport.transport import Counts, FalseFriends, Part, Transport

__all__ = ["Counts", "FalseFriends", "Part", "Transport"]
