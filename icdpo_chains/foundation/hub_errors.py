"""`hub_problem`: distinguishes a wrong name, a missing right and an unreachable hub."""

from __future__ import annotations

from collections.abc import Iterator

__all__ = ["hub_problem"]

_OFFLINE = "outgoing traffic has been disabled"


def hub_problem(error: BaseException) -> str | None:
    """Returns the reason for which Hugging Face's hub gave no file, and the remedy; `None` for other errors.

    transformers reports most of them with the same text.

    Args:
        error: the error of a library, with its causes.
    """
    from huggingface_hub import errors

    causes = list(_causes(error))

    def has(*kinds: type[BaseException]) -> bool:
        return any(isinstance(cause, kinds) for cause in causes)

    if has(errors.GatedRepoError):
        return "the hub has it, and asks for consent to its terms: accept them on its page, and give a token"
    if has(errors.RevisionNotFoundError):
        return "the hub has the model and not this revision: check the revision"
    if has(errors.RepositoryNotFoundError):
        return "the hub has no model of this name: check the name, or give a token if the model is private"
    if has(errors.OfflineModeIsEnabled) or any(_OFFLINE in str(cause) for cause in causes):
        return (
            "the cache does not have it, and offline mode (HF_HUB_OFFLINE) forbids the download: download it "
            "first, or leave offline mode"
        )
    if has(errors.LocalEntryNotFoundError, ConnectionError, TimeoutError):
        told = (str(cause).strip() for cause in causes[::-1])
        reason = next((text.splitlines()[0] for text in told if text), "no reason is given")
        return (
            f"the hub can't be reached ({reason:.120}), and the cache does not have it: check the "
            "connection; the name may be right"
        )
    if has(errors.EntryNotFoundError):
        return "the hub has the model and not the file that it needs: check gguf_file, or use another model"
    return None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
