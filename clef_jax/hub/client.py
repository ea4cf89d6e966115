"""The only user of `huggingface_hub`, and its errors as sentences."""

import contextlib
from collections.abc import Iterator
from typing import Any

from clef_jax.errors import UserError

_LOG_IN = "log in with `hf auth login`, or set HF_TOKEN"


def import_hub() -> Any:
    """Returns the module `huggingface_hub`.

    Raises:
        UserError: it is not installed.
    """
    try:
        import huggingface_hub.constants
        import huggingface_hub.errors
    except ImportError as error:
        raise UserError(
            "Models on a hub need huggingface_hub: pip install 'clef_jax[hub]'. Model folders on "
            "this machine do not.",
            problem="needs_hub",
        ) from error
    return huggingface_hub


@contextlib.contextmanager
def sentences(repository: str, revision: str | None = None) -> Iterator[None]:
    """Turns the errors of a hub in the block into sentences.

    Args:
        repository: `ORG/NAME`, for the message.
        revision: the revision that the block asks for, for the message.

    Raises:
        UserError: the hub refused a request or cannot be reached.
    """
    hub = import_hub()
    errors, endpoint = hub.errors, hub.constants.ENDPOINT
    try:
        yield
    except errors.GatedRepoError as error:
        raise UserError(
            f"{endpoint}/{repository} gives its files only to users who accepted its terms; accept "
            f"them there, then {_LOG_IN}.",
            problem="gated_repository",
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise UserError(
            f"There is no model {repository} at {endpoint}, or it is private. Check the name; if "
            f"it is private, {_LOG_IN}.",
            problem="no_repository",
        ) from error
    except errors.RevisionNotFoundError as error:
        raise UserError(
            f"{repository} has no commit, branch or tag {revision!r}; {endpoint}/{repository} "
            "lists them.",
            problem="no_revision",
        ) from error
    except errors.LocalEntryNotFoundError as error:
        raise _unreachable(repository, endpoint) from error
    except errors.EntryNotFoundError as error:
        raise UserError(
            f"{endpoint}/{repository} is no complete model folder of this package at {revision}: "
            f"{' '.join(str(error).split())}",
            problem="not_a_model_folder",
        ) from error
    except errors.HfHubHTTPError as error:
        raise _refused(error, repository, endpoint) from error
    except (errors.OfflineModeIsEnabled, errors.HTTPError) as error:
        raise _unreachable(repository, endpoint) from error
    except (RuntimeError, ValueError) as error:  # of an upload, with its reason as the cause
        if isinstance(error, UserError):
            raise
        if isinstance(error.__cause__, errors.HfHubHTTPError):
            raise _refused(error.__cause__, repository, endpoint) from error
        if isinstance(error.__cause__, errors.HTTPError):
            raise _unreachable(repository, endpoint) from error
        reason = " ".join(str(error).split())
        raise UserError(
            f"{endpoint} did not take the files of {repository}: {reason}", problem="hub_error"
        ) from error


def _refused(error: Any, repository: str, endpoint: str) -> UserError:
    """Returns the error of a request that the hub answered with a status."""
    status = error.response.status_code
    reason = getattr(error, "server_message", None) or str(error).partition("\n")[0]
    if status in (401, 403):
        return UserError(
            f"{endpoint} does not let you do this with {repository} (status {status}); {_LOG_IN}, "
            "as a user who may.",
            problem="not_allowed",
        )
    if status in (409, 412):
        return UserError(
            f"{repository} was changed by somebody else at the same time: {reason}. Run the "
            "command again.",
            problem="changed_meanwhile",
        )
    return UserError(
        f"{endpoint} refused a request for {repository} (status {status}): {reason}. Try again "
        "later.",
        problem="hub_error",
    )


def _unreachable(repository: str, endpoint: str) -> UserError:
    return UserError(
        f"{endpoint} cannot be reached for {repository}, or HF_HUB_OFFLINE is set. A commit that "
        "was downloaded before needs no network: name it after the @.",
        problem="hub_unreachable",
    )
