"""Upload to the hub: only what changed, data before card, and a single commit that shows it all.

The content of large files goes up first, where nobody sees it. Then one commit puts the new files
in, takes out what an earlier push put there and this one does not, and writes the card: there is
no moment at which a card describes other data than lies beside it. The commit names the state it
was made from, so a lost answer is not committed twice, and what somebody else wrote meanwhile is
read again before it.
"""

import hashlib
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tracecraft.errors import StageError
from tracecraft.publish.card import Card
from tracecraft.publish.hub_client import (
    MOVED,
    TRIES,
    Kind,
    clean,
    client,
    faults,
    make_ready,
    patiently,
    said,
    status_of,
    stopped,
)

if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd, HfApi
    from huggingface_hub.hf_api import RepoFile

log = logging.getLogger(__name__)

CARD, RECORD = "README.md", "tracecraft.json"
GROUP_FILES = 20
GROUP_BYTES = 2_000_000_000
"""Files and bytes that go up between two looks at how far we are."""
LOOKS = 5
"""How often the state of the repository may change under our hands."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """All that one repository is to hold."""

    repo: str
    kind: Kind
    files: dict[str, Path]
    """Path in the repository to the file here."""
    card: Card
    steps: tuple[dict[str, Any], ...] = ()
    """What each step of its lineage did, for `tracecraft.json`."""
    digests: dict[str, str] = field(default_factory=dict)
    """sha256 of the files, filled when first asked for."""

    def digest(self, path: str) -> str:
        """sha256 of a file, read once."""
        if path not in self.digests:
            with self.files[path].open("rb") as file:
                self.digests[path] = hashlib.file_digest(file, "sha256").hexdigest()
        return self.digests[path]

    def record(self) -> bytes:
        """The content of `tracecraft.json`: how it came about, and what of it is ours."""
        files = {path: self.digest(path) for path in sorted(self.files)}
        told = {"header": self.card.header, "steps": list(self.steps), "files": files}
        return (json.dumps(told, indent=1, ensure_ascii=False) + "\n").encode()


@dataclass(frozen=True, slots=True)
class Pushed:
    """What a push did, or would do."""

    repo: str
    kind: Kind
    url: str
    commit: str | None
    """The revision that shows it; None where nothing was sent."""
    created: bool
    sent: dict[str, int]
    """Path to bytes."""
    unchanged: int
    removed: tuple[str, ...]
    card: str


@dataclass(frozen=True, slots=True)
class _State:
    """A repository at one commit."""

    head: str | None
    files: "dict[str, RepoFile]"
    card: str
    record: dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Change:
    """What leads from a state to a bundle."""

    sends: dict[str, Path | bytes]
    removes: tuple[str, ...]
    unchanged: int
    card: str


def ready(repo: str, kind: Kind, *, private: bool = False) -> bool:
    """See that a repository can be written to, before anything is made for it; True if it is new.

    Raises:
        UsageError: no token, no permission, no such repository.
        StageError: the hub cannot be reached.
    """
    return make_ready(client(), repo, kind, private=private)


def push(
    bundle: Bundle,
    *,
    created: bool = False,
    dry_run: bool = False,
    told: Callable[[int, int], None] = lambda done, total: None,
) -> Pushed:
    """Make a repository hold a bundle; `told` is called with bytes done and in all.

    Raises:
        StageError: the upload stopped. Push again: what was uploaded is kept.
    """
    api, where = client(), f"{bundle.kind} {bundle.repo}"
    if dry_run:
        state = _glance(api, bundle)
        change = _compare(bundle, state)
        return _pushed(bundle, api, change, None, created=state.head is None)
    try:
        for _ in range(LOOKS):
            state = _look(api, bundle)
            change = _compare(bundle, state)
            try:
                commit = _send(api, bundle, state, change, told) if _any(change) else None
            except faults() as error:
                if status_of(error) != MOVED:
                    raise
                continue
            return _pushed(bundle, api, change, commit, created=created)
    except faults() as error:
        raise stopped(where, error) from None
    raise StageError(f"{where}: others keep changing it\n  next   push again when it is at rest")


def _any(change: _Change) -> bool:
    return bool(change.sends or change.removes)


def _pushed(
    bundle: Bundle, api: "HfApi", change: _Change, commit: str | None, *, created: bool
) -> Pushed:
    sent = {
        path: len(one) if isinstance(one, bytes) else one.stat().st_size
        for path, one in change.sends.items()
    }
    prefix = "datasets/" if bundle.kind == "dataset" else ""
    return Pushed(
        repo=bundle.repo,
        kind=bundle.kind,
        url=f"{api.endpoint}/{prefix}{bundle.repo}",
        commit=commit,
        created=created,
        sent=sent,
        unchanged=change.unchanged,
        removed=change.removes,
        card=change.card,
    )


def _glance(api: "HfApi", bundle: Bundle) -> _State:
    """As `_look`, but without patience: where the hub can't be asked, all would be new."""
    try:
        return _look(api, bundle, tries=1)
    except faults() as error:
        log.warning("%s: not compared with what is there: %s", bundle.repo, said(error))
        return _State(None, {}, "", {})


def _look(api: "HfApi", bundle: Bundle, tries: int = TRIES) -> _State:
    """What the repository holds now; nothing where there is none."""
    from huggingface_hub.errors import RepositoryNotFoundError
    from huggingface_hub.hf_api import RepoFile

    repo, kind, where = bundle.repo, bundle.kind, f"{bundle.kind} {bundle.repo}"
    try:
        head = patiently(lambda: api.repo_info(repo, repo_type=kind).sha, where, tries)
    except RepositoryNotFoundError:
        return _State(None, {}, "", {})

    def tree() -> "list[RepoFile]":
        found = api.list_repo_tree(repo, recursive=True, revision=head, repo_type=kind)
        return [one for one in found if isinstance(one, RepoFile)]

    def text(name: str) -> str:
        if name not in files:
            return ""
        place = patiently(
            lambda: api.hf_hub_download(repo, name, revision=head, repo_type=kind), where, tries
        )
        return Path(place).read_text(encoding="utf-8")

    files = {one.path: one for one in patiently(tree, where, tries)}
    try:
        record = json.loads(text(RECORD) or "{}")
    except ValueError:
        record = {}  # somebody edited it: then nothing there is known to be ours
    return _State(head, files, text(CARD), record if isinstance(record, dict) else {})


def _compare(bundle: Bundle, state: _State) -> _Change:
    card = bundle.card.into(state.card, state.record.get("header") or {})
    wanted: dict[str, Path | bytes] = dict(bundle.files)
    wanted |= {RECORD: bundle.record(), CARD: card.encode()}  # the card is the last of all
    sends = {
        path: one for path, one in wanted.items() if not _same(one, state.files.get(path), bundle)
    }
    ours = set(state.record.get("files") or {})
    removes = tuple(sorted((ours & state.files.keys()) - wanted.keys()))
    return _Change(sends, removes, len(wanted) - len(sends), card)


def _same(here: Path | bytes, there: "RepoFile | None", bundle: Bundle) -> bool:
    """By git's sha1 of a small file and the sha256 of a large one."""
    if there is None:
        return False
    if isinstance(here, bytes):
        content = here
    elif here.stat().st_size != there.size:
        return False
    elif there.lfs is not None:
        path = next(path for path, one in bundle.files.items() if one == here)
        return bundle.digest(path) == there.lfs.sha256
    else:
        content = here.read_bytes()
    if there.lfs is not None:
        return hashlib.sha256(content).hexdigest() == there.lfs.sha256
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest() == there.blob_id


def _send(
    api: "HfApi",
    bundle: Bundle,
    state: _State,
    change: _Change,
    told: Callable[[int, int], None],
) -> str:
    """Content first, group by group; then the commit. The revision it made."""
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    where = f"{bundle.kind} {bundle.repo}"
    adds = [
        CommitOperationAdd(path, one if isinstance(one, bytes) else str(one))
        for path, one in change.sends.items()
    ]
    for add in adds:
        if add.path_in_repo in bundle.files:  # known already: the client need not read it for that
            add.upload_info.sha256 = bytes.fromhex(bundle.digest(add.path_in_repo))
    total, done = sum(add.upload_info.size for add in adds), 0
    for group in _groups([add for add in adds if add.path_in_repo not in (CARD, RECORD)]):
        told(done, total)
        _upload(api, bundle, group)
        done += sum(add.upload_info.size for add in group)
    told(done, total)
    deletes = [CommitOperationDelete(path) for path in change.removes]
    card = [add for add in adds if add.path_in_repo == CARD]
    others = [add for add in adds if add.path_in_repo != CARD]

    def commit() -> str:
        now = patiently(lambda: api.repo_info(bundle.repo, repo_type=bundle.kind).sha, where)
        if now != state.head and now is not None and _compare_to(api, bundle) is None:
            return now  # the answer to our commit was lost, not the commit
        try:
            return api.create_commit(
                bundle.repo,
                [*others, *deletes, *card],
                commit_message=_message(change),
                repo_type=bundle.kind,
                parent_commit=state.head,
            ).oid
        except ValueError as error:
            raise StageError(
                f"{where}: the hub does not take the card: {clean(str(error))}"
                "\n  next   mend the header of its README.md on the hub, then push again"
            ) from None

    return patiently(commit, where)


def _compare_to(api: "HfApi", bundle: Bundle) -> _Change | None:
    """What still differs; None where the repository holds the bundle."""
    change = _compare(bundle, _look(api, bundle))
    return change if _any(change) else None


def _message(change: _Change) -> str:
    removed = f", {len(change.removes)} removed" if change.removes else ""
    return f"tracecraft: {len(change.sends)} files{removed}"


def _groups(adds: "list[CommitOperationAdd]") -> "list[list[CommitOperationAdd]]":
    groups: list[list[CommitOperationAdd]] = []
    size = 0
    for add in adds:
        if not groups or len(groups[-1]) >= GROUP_FILES or size >= GROUP_BYTES:
            groups.append([])
            size = 0
        groups[-1].append(add)
        size += add.upload_info.size
    return groups


def _upload(api: "HfApi", bundle: Bundle, group: "list[CommitOperationAdd]") -> None:
    patiently(
        lambda: api.preupload_lfs_files(
            bundle.repo, additions=group, repo_type=bundle.kind, free_memory=False
        ),
        f"{bundle.kind} {bundle.repo}",
    )
