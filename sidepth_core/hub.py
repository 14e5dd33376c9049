"""The Hugging Face Hub: whether it can be reached, asked once and briefly, and what is uploaded to it.

Left to itself, `huggingface_hub` tries a file six times over more than half a minute before it says that there is no
network connection.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple, TypeVar

from sidepth_core.errors import CheckpointError, ConfigError

PATIENCE_S = 5.0
"""How long the Hub may take for its first answer, seconds."""

Answer = TypeVar('Answer')


class Uploaded(NamedTuple):
    """What is on the Hub now.

    Attributes:
        url: Page of the repository.
        commit: SHA-1 of the commit.
        private: Whether only its owner sees it.
    """

    url: str
    commit: str
    private: bool


def hub_answers() -> bool:
    """Return whether the Hub can be reached; whatever it answers will do. False where HF_HUB_OFFLINE is set."""
    from huggingface_hub import constants, get_session  # noqa: PLC0415 - a second to import, and most weights are here

    if constants.HF_HUB_OFFLINE:
        return False
    try:
        get_session().head(constants.ENDPOINT, timeout=PATIENCE_S)
    except Exception:  # noqa: BLE001 - requests' or httpx's, by the version of huggingface_hub: both mean the same
        return False
    return True


def upload(
    repository: str, files: Mapping[str, Path | bytes], replaced: frozenset[str], *, private: bool, message: str
) -> Uploaded:
    """Upload files into a repository of models, made if missing, in one commit: readers see all of them or none.

    Args:
        repository: ORGANISATION/NAME.
        files: The files, by their names there.
        replaced: Names that belong to the same thing: those there that are not in `files` are deleted.
        private: Whether only its owner may see a new repository. One that is public already is refused then.
        message: Of the commit.

    Raises:
        ConfigError: If nobody is logged in, or the repository is public and was to be private.
        CheckpointError: If the Hub does not answer or refuses.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, get_token  # noqa: PLC0415 - as above

    if not hub_answers():
        raise CheckpointError(
            'the Hub does not answer, so nothing was uploaded: is there a network connection, is HF_HUB_OFFLINE set?'
        )
    if get_token() is None:
        raise ConfigError(
            'nobody is logged in to the Hub: run `hf auth login` with a token that may write, or set HF_TOKEN to one'
        )
    api = HfApi()
    url = _asked(repository, lambda: api.create_repo(repository, private=private, exist_ok=True))
    info = _asked(repository, lambda: api.model_info(repository))
    if private and not info.private:
        raise ConfigError(
            f'{repository!r} is public on the Hub already: say --public to add to it, or name another repository'
        )
    there = {sibling.rfilename for sibling in info.siblings or ()}
    operations = [
        *(CommitOperationAdd(name, content) for name, content in files.items()),
        *(CommitOperationDelete(name) for name in sorted(there & replaced - set(files))),
    ]
    commit = _asked(repository, lambda: api.create_commit(repository, operations, commit_message=message))
    return Uploaded(str(url), str(commit.oid), bool(info.private))


def _asked(repository: str, request: Callable[[], Answer]) -> Answer:
    """Return what the Hub answers.

    Raises:
        CheckpointError: If it refuses, or the connection breaks.
    """
    try:
        return request()
    except (OSError, ValueError) as error:  # the Hub's own errors derive from these two
        status = getattr(getattr(error, 'response', None), 'status_code', None)
        reasons = {
            401: 'the token is not valid: run `hf auth login`, or set HF_TOKEN to one that may write',
            403: f'the token may not write to {repository.partition("/")[0]!r}: take one with the right to write there',
        }
        reason = reasons.get(status or 0) or (str(error).splitlines() or [type(error).__name__])[0]
        raise CheckpointError(f'{repository!r} cannot be uploaded to: {reason}') from error
