"""Repositories of the Hugging Face hub: patience with it, and one line for whatever it refuses.

Its clients have little patience (huggingface_hub 2.4, datasets 3.6). A question about a repository is asked once. A
file's download is resumed five times, a second apart, when the connection is lost, but ends at the first 503. A stream
asks six times within 23 seconds. The hub counts requests by five minutes, and a corpus is read for hours.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal, TypeVar

from .errors import InputError, first_line
from .log import log

T = TypeVar("T")

WAITS = (5, 10, 20, *[60] * 9)  # seconds before each further attempt, 10 minutes in all
WAITS_UNREACHED = WAITS[:3]  # if the hub was not reached at all: most likely there is no network
PASSING = (408, 429, 500, 502, 503, 504)  # statuses


@dataclass(frozen=True)
class Repository:
    """A model or data set of the hub, with the keys of the configuration that messages name."""

    kind: Literal["model", "dataset"]
    name: str
    revision: str | None
    key: str
    revision_key: str

    @property
    def local(self) -> bool:
        """`load_dataset` prefers a folder of that name: a user's own copy."""
        return self.kind == "dataset" and Path(self.name).is_dir()

    def commit(self) -> str:
        """What the revision is now."""
        from huggingface_hub import HfApi

        info = self.fetch(lambda: HfApi().repo_info(self.name, repo_type=self.kind, revision=self.revision))
        return str(info.sha)

    def fetch(self, get: Callable[[], T]) -> T:
        """What `get` returns, which is called again after a failure that may pass."""
        return next(self.read(lambda: [get()]))

    def read(self, begin: Callable[[], Iterable[T]]) -> Iterator[T]:
        """The items of a stream. After a failure that may pass, it is begun again, and what was read is skipped."""
        taken = tries = 0
        while True:
            try:
                for item in islice(begin(), taken, None):
                    taken, tries = taken + 1, 0
                    yield item
                return
            except InputError:
                raise
            except Exception as error:  # the hub clients' own, datasets', their HTTP libraries' and the OS's
                waits = WAITS if taken or not _unreached(error) else WAITS_UNREACHED
                if not _may_pass(error) or tries == len(waits):
                    raise InputError(self._refusal(error)) from error
                log.warning("%s: %s: trying again in %d s", self.name, _why(error), waits[tries])
                time.sleep(waits[tries])
                tries += 1

    def _refusal(self, error: Exception) -> str:
        from huggingface_hub import constants
        from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

        page = f"{constants.ENDPOINT}/{'datasets/' if self.kind == 'dataset' else ''}{self.name}"
        gated = next((one for one in _causes(error) if isinstance(one, GatedRepoError)), None)
        if gated or "is a gated dataset" in str(error):  # datasets' words: it drops the cause
            if (gated and gated.response.status_code == 401) or "must be authenticated" in str(error):
                return f"{self.key}: {self.name} is gated: accept its terms at {page}, then run `hf auth login`"
            return f"{self.key}: {self.name} is gated, and your account has no access: ask for it at {page}"
        if _is(error, RevisionNotFoundError):
            return (
                f"{self.revision_key}: {self.name} has no revision {self.revision!r}: give a commit, tag or branch of "
                f"{page}/tree/main, or null for the newest"
            )
        if _is(error, RepositoryNotFoundError) or _status(error) == 401:  # which a stranger gets for any unknown name
            return (
                f"{self.key}: the hub has no {'data set' if self.kind == 'dataset' else 'model'} {self.name}, or none "
                "that you may see: check the spelling; for a private one, run `hf auth login`"
            )
        if constants.HF_HUB_OFFLINE:
            return (
                f"{self.key}: {self.name} is not on this machine, and HF_HUB_OFFLINE forbids fetching it: run the same "
                "command where there is a network, without that variable"
            )
        if _may_pass(error):
            what = f"cannot reach {constants.ENDPOINT}" if _unreached(error) else "the hub does not deliver"
            return (
                f"{self.key}: {self.name}: {what} ({_why(error)}): check the network and run the same command again, "
                "now or later: what was fetched is kept"
            )
        return f"{self.key}: {self.name} cannot be read: {first_line(error)}: check {self.key} and {self.revision_key}"


class Destination(Repository):
    """A repository that is written to."""

    def _refusal(self, error: Exception) -> str:
        from huggingface_hub import constants

        where, status = f"{self.key}: {self.name}", _status(error)
        if constants.HF_HUB_OFFLINE:
            return f"{where}: HF_HUB_OFFLINE forbids sending anything: run the same command without that variable"
        if status == 401:
            return f"{where}: the hub does not accept your token: run `hf auth login` again, or correct HF_TOKEN"
        if status == 403:
            return (
                f"{where}: your token may not write there: correct the owner's name, or run `hf auth login` with a "
                "token that may write to that owner's repositories"
            )
        if _may_pass(error):
            what = f"cannot reach {constants.ENDPOINT}" if _unreached(error) else "the hub does not take it"
            return (
                f"{where}: {what} ({_why(error)}): check the network and run the same command again, now or later: "
                "files that arrived are not sent again"
            )
        return f"{where} cannot be written: {_why(error)}: check {self.key}"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _is(error: Exception, *classes: type[BaseException]) -> bool:
    return any(isinstance(one, classes) for one in _causes(error))


def _status(error: Exception) -> int | None:
    from huggingface_hub.errors import HfHubHTTPError

    return next((one.response.status_code for one in _causes(error) if isinstance(one, HfHubHTTPError)), None)


def _may_pass(error: Exception) -> bool:
    from huggingface_hub import constants
    from huggingface_hub.errors import LocalEntryNotFoundError

    if constants.HF_HUB_OFFLINE:
        return False
    status = _status(error)
    # LocalEntryNotFoundError: "cannot ask the hub, and it is not here". datasets drops its cause.
    return status in PASSING if status else _unreached(error) or _lost(error) or _is(error, LocalEntryNotFoundError)


def _unreached(error: Exception) -> bool:
    import httpx2

    return _is(error, httpx2.ConnectError, httpx2.ConnectTimeout)


def _lost(error: Exception) -> bool:
    import httpx2

    return _is(error, httpx2.TransportError, ConnectionError, TimeoutError)


def _why(error: Exception) -> str:
    """The last cause says most: the libraries wrap it in paragraphs of advice."""
    status = _status(error)
    return f"HTTP status {status}" if status else first_line(list(_causes(error))[-1])
