"""The error for what a user can fix, and how other libraries' errors are quoted in it."""


class InputError(Exception):
    """Wrong input: one line that names the key, file or value, and says what to do.

    Raised wherever the user can fix the cause; the job's entry prints it without a traceback.
    """


def first_line(error: BaseException) -> str:
    """The first line of an error's message. Some libraries write paragraphs, and some write nothing."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
