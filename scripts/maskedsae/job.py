"""What every entry script shares: where its lines go, and how it ends."""

import logging
import signal
import sys
from contextlib import contextmanager
from pathlib import Path

from .errors import InputError

log = logging.getLogger("maskedsae")


@contextmanager
def job(log_file: str):
    """Log to the job's file and to the terminal; end with one clear line where the user can mend the cause."""
    Path(log_file).parent.mkdir(parents=True, exist_ok=True)
    form = logging.Formatter("%(asctime)s %(message)s", datefmt="%H:%M:%S")
    for handler in (logging.FileHandler(log_file, mode="a"), logging.StreamHandler(sys.stderr)):
        handler.setFormatter(form)
        log.addHandler(handler)
    log.setLevel(logging.INFO)
    if transformers := sys.modules.get("transformers"):  # not imported here: seconds, for a job that needs none of it
        transformers.logging.set_verbosity_error()  # its notes on a head that we do not load; what is missing fails
        transformers.logging.disable_progress_bar()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped by SIGTERM"))  # unwinds, so that leases are released
    try:
        yield
    except InputError as error:
        log.error("error: %s", error)
        sys.exit(1)
    except Exception:
        log.exception("failed")
        sys.exit(1)
