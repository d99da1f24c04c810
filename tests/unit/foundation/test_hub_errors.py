"""A wrong name, a missing right and an unreachable hub are told apart."""

from __future__ import annotations

import httpx
import pytest
from huggingface_hub import errors

from icdpo_chains.foundation.hub_errors import hub_problem

RESPONSE = httpx.Response(404, request=httpx.Request("GET", "https://hub/org/name"))
OFFLINE = "Cannot find the requested files in the disk cache and outgoing traffic has been disabled."


def of_the_hub(kind: type[Exception], text: str = "no") -> Exception:
    try:
        return kind(text, response=RESPONSE)
    except TypeError:
        return kind(text)


@pytest.mark.parametrize(
    ("cause", "said"),
    [
        (of_the_hub(errors.RepositoryNotFoundError), "no model of this name"),
        (of_the_hub(errors.GatedRepoError), "accept them on its page"),
        (of_the_hub(errors.RevisionNotFoundError), "not this revision"),
        (of_the_hub(errors.RemoteEntryNotFoundError), "not the file"),
        (errors.OfflineModeIsEnabled("x"), "offline mode"),
        (errors.LocalEntryNotFoundError(OFFLINE), "offline mode"),
        (errors.LocalEntryNotFoundError("not in the cache"), "can't be reached"),
        (ConnectionError("refused"), r"can't be reached \(refused\)"),
        (TimeoutError(), "can't be reached"),
        (ValueError("broken"), None),
    ],
)
def test_each_cause_has_its_remedy(cause: Exception, said: str | None) -> None:
    outer = OSError("We couldn't connect")
    outer.__cause__ = cause
    for error in (cause, outer):
        if said is None:
            assert hub_problem(error) is None
        else:
            with pytest.raises(AssertionError, match=said):
                raise AssertionError(hub_problem(error))


def test_a_circle_of_causes_ends() -> None:
    one, two = ValueError("one"), ValueError("two")
    one.__cause__, two.__cause__ = two, one
    assert hub_problem(one) is None
