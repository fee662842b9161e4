"""What hf_xlt raises when it refuses an input, or is refused itself."""


class InputError(ValueError):
    """Input refused before work starts.

    The message names the value, what was expected and what to do next; the command line prints it as it is.
    """


class UploadError(RuntimeError):
    """The Hub did not take a folder.

    The message is one line: what went wrong, that the local folder is whole, and how to try again.
    """
