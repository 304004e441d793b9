"""Token counts by the word of a real llama-server are what it reports with the answer."""

from __future__ import annotations

from typing import Any

import pytest

from penstock import Client
from penstock.call import Target
from penstock.requests import chat_request

pytestmark = pytest.mark.system


@pytest.mark.parametrize("text", ["Hello", "Hello there, how are you today? Ça va, 你好?"])
def test_an_exact_count_is_the_reported_one(llama: Any, text: str) -> None:
    provider = {"api_key": "sk-test", "base_url": llama.base_url}
    options: dict[str, Any] = {"config": False, "environ": {}, "pipeline": ["cost"]}
    with Client(providers={"openai": provider}, **options) as client:
        answer = client.chat("openai/tiny", text, max_tokens=5)
        request = chat_request("openai/tiny", text, {}, stream=False)
        codec = client.provider("openai")
        count = client.stage("cost").count_exactly(request, Target("openai", "tiny"), codec)
    assert count.method == "exact"
    assert count.tokens == answer.usage.input_tokens
    assert answer.cost == 0  # it runs on this machine
