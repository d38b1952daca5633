class InputError(Exception):
    """Something that the user gave is wrong: one line that names the key, file or value, and what to do.

    Raised wherever a user can mend the cause; the job entry prints it without a traceback.
    """
