import pytest

from icdpo_chains.foundation.url_credentials import has_credentials


@pytest.mark.parametrize(
    "url",
    [
        "http://u:pw@host:8000/v1",
        "https://key@host",
        "http:/u:pw@host",
        "http://host/v1?api_key=abc",
        "http://host?x=1&TOKEN=abc",
    ],
)
def test_a_url_with_credentials_is_noticed(url: str) -> None:
    assert has_credentials(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://host:8000/v1",
        "http://host?x=u:p@h",
        "http://host/a@b",
        "http://host?monkey=1&keyword=2",
        "me@host/store",
        "/home/me@host/store",
        "C:\\me@host",
        "",
    ],
)
def test_other_urls_and_paths_have_none(url: str) -> None:
    assert not has_credentials(url)
