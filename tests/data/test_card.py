"""Cards: every one is complete, and what is known of the official files is in it."""

from importlib import resources
from pathlib import Path

import pytest
from pydantic import ValidationError

from cpbench.data.card import Card, SourceFile, card, cards
from cpbench.data.readers import READERS
from cpbench.errors import UsageError

PUBLIC = [each for each in cards().values() if each.kind == "public"]


def test_the_catalogue() -> None:
    assert set(cards()) >= {"ml-100k", "ml-1m", "amazon-beauty", "amazon-sports", "amazon-toys",
                            "amazon-musical-instruments", "lastfm", "streaming"}


@pytest.mark.parametrize("each", PUBLIC, ids=lambda each: each.name)
def test_public_cards_are_complete(each: Card) -> None:
    assert each.reader in READERS
    assert each.expected is not None
    assert each.raw is not None
    assert each.licence
    assert each.citation
    assert each.attributes
    assert any(not file.optional for file in each.files)
    for file in each.files:
        assert file.url.startswith("https://")
        assert file.url.endswith(f"/{file.name}")
        assert file.mirror.count("/") == 1


def test_no_two_cards_share_a_place_in_the_mirror() -> None:
    places = [file.mirror for each in PUBLIC for file in each.files]
    assert len(places) == len(set(places))


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="unknown dataset 'amazon-beuty'; did you mean 'amazon-beauty'"):
        card("amazon-beuty")


def test_unknown_keys_and_odd_checksums_are_refused() -> None:
    with pytest.raises(ValidationError):
        Card(name="x", title="x", family="x", licence="x", expcted=None)  # type: ignore[call-arg]
    with pytest.raises(ValidationError):
        SourceFile(role="a", url="https://x/y", mirror="x/y", checksum="md5:short")
    with pytest.raises(ValidationError):
        SourceFile(role="a", url="https://x/y", mirror="y")


@pytest.mark.parametrize(("text", "reason"), [
    ('title = "x"\nfamily = "x"\nlicence = "x"\ngranularty = "day"\n', "granularty = 'day'"),
    ("title =", "Invalid value"),
])
def test_a_card_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, reason: str
                                             ) -> None:
    (tmp_path / "odd.toml").write_text(text)
    monkeypatch.setattr(resources, "files", lambda package: tmp_path)
    with pytest.raises(UsageError, match=rf"the card datasets/odd\.toml cannot be read: {reason}"):
        cards.__wrapped__()
