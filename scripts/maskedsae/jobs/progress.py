"""Progress of long work: a bar on a terminal, and now and then a line in the log."""

import sys
import time

from tqdm import tqdm

from .log import log

SECONDS_BETWEEN_LINES = 30


class Progress:
    """Counts `unit`s up to `total`; on a terminal a tqdm bar, and always a log line every half minute."""

    def __init__(self, what: str, total: int, unit: str, start: int = 0):
        self.what, self.total, self.unit = what, total, unit
        self.start, self.done = start, start
        self.began = self.last_line = time.monotonic()
        self.bar = tqdm(
            desc=what,
            total=total,
            initial=start,
            unit=f" {unit}",
            unit_scale=True,
            disable=not sys.stderr.isatty(),
            leave=False,
        )

    def advance(self, count: int, note: str = "") -> None:
        self.done += count
        self.bar.update(count)
        if note:
            self.bar.set_postfix_str(note, refresh=False)
        now = time.monotonic()
        if now - self.last_line >= SECONDS_BETWEEN_LINES:
            self.last_line = now
            rate = (self.done - self.start) / (now - self.began)
            remaining = (self.total - self.done) / rate if rate else float("inf")
            share = self.done / self.total
            log.info(
                "%s: %s of %s %s (%.0f%%), %.3g %s/s, %.0f s left%s",
                *(self.what, f"{self.done:,}", f"{self.total:,}", self.unit, 100 * share, rate, self.unit, remaining),
                f", {note}" if note else "",
            )

    def close(self) -> None:
        self.bar.close()

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
