"""Secrets never survive redaction, in any of the forms they take."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.redaction import MASK, Redactor


@given(st.text(alphabet=st.characters(blacklist_categories=["Cs"]), min_size=6), st.text(), st.text())
def test_an_exact_secret_is_masked_wherever_it_stands(secret: str, before: str, after: str) -> None:
    stripped = secret.strip()
    if len(stripped) < 4 or stripped in MASK:
        return
    assert stripped not in Redactor((secret,))(f"{before}{secret}{after}").replace(MASK, "")


@pytest.mark.parametrize(
    "text",
    [
        "Incorrect API key provided: sk-abcdefghijklmnop1234",
        "token hf_abcdefghijklmnop rejected",
        "gsk_abcdefghijklmnop is no key",
        "Authorization: Bearer abcdefghijklmnop",
        "Proxy-Authorization: Basic YWJjZGVmZ2hpamtsbW5vcA==",
        "connect to http://user:abcdefghijklmnop@proxy.test:80",
        '{"api_key": "abcdefghijklmnop"}',
        "?key=abcdefghijklmnop&x=1",
        "AIzaabcdefghijklmnop-123",
    ],
)
def test_the_usual_shapes_are_masked_without_being_known(text: str) -> None:
    redacted = Redactor()(text)
    assert "abcdefghijklmnop" not in redacted
    assert "YWJj" not in redacted
    assert MASK in redacted


def test_a_secret_is_found_in_its_url_encoded_form_and_with_a_trailing_newline() -> None:
    redactor = Redactor(("se/cret+key=\n",))
    assert redactor("https://x.test/?q=se%2Fcret%2Bkey%3D") == f"https://x.test/?q={MASK}"
    assert redactor("header 'se/cret+key='") == f"header '{MASK}'"


def test_harmless_text_stays_as_it_is() -> None:
    text = "openai/gpt-4o-mini answered in 2.5 s; see https://x.test/a:b/c for the token count"
    assert Redactor(("a-secret-value",))(text) == text


def test_the_redactor_shows_no_secret_of_its_own() -> None:
    assert "topsecret" not in repr(Redactor(("topsecret",)))


def test_placeholders_and_words_after_a_key_name_are_not_masked() -> None:
    assert Redactor(("ollama", "EMPTY"))("ollama answered; the queue is EMPTY") == (
        "ollama answered; the queue is EMPTY"
    )
    text = "api_key: cannot be read"
    assert Redactor()(text) == text
