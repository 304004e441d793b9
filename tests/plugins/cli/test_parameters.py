"""From options to parameters of a call."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from penstock import Image, Text
from penstock_cli.parameters import content_of, parse_parameters, read_schema

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 16


def test_values_are_json_or_text() -> None:
    pairs = ("seed=7", "stop=END", 'logit_bias={"5": -1}', "user=", "retry=false", "metadata.a=b")
    assert parse_parameters(pairs) == {
        "seed": 7,
        "stop": "END",
        "logit_bias": {"5": -1},
        "user": "",
        "retry": False,
        "metadata.a": "b",
    }


def test_extra_goes_to_the_provider_under_its_own_name() -> None:
    parameters = parse_parameters(("extra.top_k=5", "extra.x=a=b", 'extra={"y": 1}'))
    assert parameters == {"extra": {"top_k": 5, "x": "a=b", "y": 1}}


@pytest.mark.parametrize("pair", ["seed", "=7", "model=x", "messages=[]", "schema={}", "timeout=3"])
def test_a_pair_that_cannot_be_is_refused(pair: str) -> None:
    with pytest.raises(click.BadParameter, match=pair.partition("=")[0] or "=7"):
        parse_parameters((pair,))


@pytest.mark.parametrize("text", ["no json", "[1]", "3"])
def test_a_schema_must_be_a_json_object(tmp_path: Path, text: str) -> None:
    path = tmp_path / "schema.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(click.BadParameter, match=r"schema\.json"):
        read_schema(path)


def test_images_are_files_or_urls(tmp_path: Path) -> None:
    path = tmp_path / "cat.png"
    path.write_bytes(PNG)
    content = content_of("What is this?", (str(path), "https://images.test/dog.png"))
    assert content == (
        Text("What is this?"),
        Image(data=PNG, media_type="image/png"),
        Image(url="https://images.test/dog.png"),
    )


def test_an_image_that_cannot_be_read_or_known_is_refused(tmp_path: Path) -> None:
    with pytest.raises(click.BadParameter, match="No such file"):
        content_of("x", (str(tmp_path / "none.png"),))
    path = tmp_path / "text.png"
    path.write_text("not an image", encoding="utf-8")
    with pytest.raises(click.BadParameter, match="no PNG"):
        content_of("x", (str(path),))
