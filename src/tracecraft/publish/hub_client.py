"""The hub's own client, with patience, and with errors that say what to do and hold no token."""

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, TypeVar

from tracecraft.errors import StageError, UsageError
from tracecraft.publish.card_facts import TOKEN

if TYPE_CHECKING:
    from huggingface_hub import HfApi

log = logging.getLogger(__name__)

Kind = Literal["dataset", "model"]
Answer = TypeVar("Answer")

TRANSIENT = {408, 429, 500, 502, 503, 504}
"""Answers after which the same question may be answered."""
MOVED = 412
"""Somebody else committed since we looked."""
TRIES = 6
FIRST_WAIT, LONGEST_WAIT = 1.0, 60.0
"""Seconds; the hub's own Retry-After may ask for more."""
LOGIN = "run `hf auth login`, or set HF_TOKEN to a token of huggingface.co/settings/tokens"


def client() -> "HfApi":
    """The hub's client, with its own progress bars and notes off."""
    from huggingface_hub import HfApi
    from huggingface_hub.utils.tqdm import disable_progress_bars

    disable_progress_bars()
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    return HfApi(library_name="tracecraft")


def faults() -> tuple[type[Exception], ...]:
    """Everything that the client raises for what the hub or the way to it did."""
    import httpx2
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    way = (httpx2.HTTPError, ConnectionError, TimeoutError, LocalEntryNotFoundError)
    return (HfHubHTTPError, *way, RuntimeError)


def patiently(call: Callable[[], Answer], what: str, tries: int = TRIES) -> Answer:
    """What `call` returns, asked again while the hub is busy or the connection breaks.

    Raises:
        Exception: of `faults`, when the answer is final or patience is at its end.
    """
    wait, left = FIRST_WAIT, tries
    while True:
        try:
            return call()
        except faults() as error:
            status, left = status_of(error), left - 1
            if left == 0 or (status is not None and status not in TRANSIENT):
                raise
            asked = _retry_after(error)
            pause = wait if asked is None else asked
            log.warning("%s: %s; again in %.0f s", what, said(error), pause)
        time.sleep(pause)
        wait = min(2 * wait, LONGEST_WAIT)


def _chain(error: BaseException | None) -> "list[BaseException]":
    """The error and what caused it."""
    found: list[BaseException] = []
    while error is not None and error not in found:
        found.append(error)
        error = error.__cause__ or error.__context__
    return found


def status_of(error: Exception) -> int | None:
    """The HTTP status behind an error; None where no answer came."""
    for one in _chain(error):
        status = getattr(getattr(one, "response", None), "status_code", None)
        if isinstance(status, int):
            return status
    return None


def _retry_after(error: Exception) -> float | None:
    for one in _chain(error):
        headers = getattr(getattr(one, "response", None), "headers", None) or {}
        asked = headers.get("Retry-After", "")
        if asked.isdigit():
            return float(asked)
    return None


def said(error: Exception) -> str:
    """One line of what went wrong, without any token."""
    status = status_of(error)
    message = next(
        (str(m) for one in _chain(error) if (m := getattr(one, "server_message", None))), ""
    )
    if not message:
        deepest = _chain(error)[-1] if status is None else error
        message = (str(deepest).strip().splitlines() or [type(deepest).__name__])[0]
    who = f"the hub says {status}" if status is not None else "the hub cannot be reached"
    return clean(f"{who}: {message}")


def clean(text: str) -> str:
    """A text without access tokens: neither the one in use nor what looks like one."""
    from huggingface_hub import get_token

    token = get_token()
    if token:
        text = text.replace(token, "hf_…")
    return TOKEN.sub("hf_…", text)


def stopped(where: str, error: Exception) -> StageError:
    """The error of an upload that could not go on."""
    return StageError(
        f"{where}: {said(error)}"
        "\n  next   push again: what was uploaded is kept, and nothing was half-published"
    )


def make_ready(api: "HfApi", repo: str, kind: Kind, *, private: bool) -> bool:
    """See that we may write to a repository, and make it where it is not there; True if made.

    Raises:
        UsageError: no token, a token that may not write, nobody who may make it.
        StageError: the hub cannot be reached.
    """
    from huggingface_hub import constants, get_token

    where = f"{kind} {repo}"
    if constants.HF_HUB_OFFLINE:
        raise UsageError(f"{where}: HF_HUB_OFFLINE is set\n  next   unset it to reach the hub")
    if not get_token():
        raise UsageError(f"{where}: no access token\n  next   {LOGIN}")
    try:
        who = patiently(api.whoami, where)
        owners = _owners(who, where)
        if _exists(api, repo, kind, private=private):
            _may_write(api, repo, kind)
            return False
        owner = repo.partition("/")[0]
        if owner not in owners:
            raise UsageError(
                f"{where}: there is no such repository, and {who['name']} may not make one under"
                f" {owner!r}\n  known: {', '.join(owners)}"
            )
        patiently(
            lambda: api.create_repo(repo, repo_type=kind, private=private, exist_ok=True), where
        )
    except faults() as error:
        raise _refused(where, error) from None
    return True


def _owners(who: dict[str, object], where: str) -> list[str]:
    """Under which names its token may make repositories."""
    auth = who.get("auth")
    token = auth.get("accessToken") if isinstance(auth, dict) else None
    if isinstance(token, dict) and token.get("role") == "read":
        raise UsageError(
            f"{where}: the token may only read\n  next   take one that may write; {LOGIN}"
        )
    orgs = who.get("orgs")
    found = [str(one.get("name")) for one in orgs] if isinstance(orgs, list) else []
    return [str(who["name"]), *found]


def _exists(api: "HfApi", repo: str, kind: Kind, *, private: bool) -> bool:
    from huggingface_hub.errors import RepositoryNotFoundError

    try:
        info = patiently(lambda: api.repo_info(repo, repo_type=kind), f"{kind} {repo}")
    except RepositoryNotFoundError:
        return False
    if private and info.private is False:
        raise UsageError(
            f"{kind} {repo}: is there already, and public\n  next   make it private in its"
            " settings, take another name, or push without --private"
        )
    return True


def _may_write(api: "HfApi", repo: str, kind: Kind) -> None:
    """Ask how a small file would be uploaded, which the hub tells only to those who may write."""
    from huggingface_hub import CommitOperationAdd

    probe = [CommitOperationAdd("README.md", b"# ")]
    patiently(
        lambda: api.preupload_lfs_files(repo, additions=probe, repo_type=kind), f"{kind} {repo}"
    )


def _refused(where: str, error: Exception) -> StageError | UsageError:
    status = status_of(error)
    if status == 401:
        return UsageError(f"{where}: the hub does not accept the token\n  next   {LOGIN}")
    if status is not None and 400 <= status < 500 and status not in TRANSIENT:
        return UsageError(
            f"{where}: not allowed: {said(error)}\n  next   take a token that may write there"
        )
    return stopped(where, error)
