"""The one kind of error that a user can mend, and how other libraries' errors are quoted in it."""


class InputError(Exception):
    """Something that the user gave is wrong: one line that names the key, file or value, and what to do.

    Raised wherever a user can mend the cause; the job's entry prints it without a traceback.
    """


def first_line(error: BaseException) -> str:
    """The first line of an error's message. Some libraries write paragraphs, and some write nothing."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
