"""What hf_xlt raises when it refuses an input."""


class InputError(ValueError):
    """Input refused before work starts.

    The message names the value, what was expected and what to do next; the command line prints it as it is.
    """
