"""What an answer costs by its server's own word."""

from __future__ import annotations

import json
from typing import Any

import pytest

from penstock.http import HttpHead, HttpResponse
from penstock.messages import ChatRequest, Message
from penstock.responses import Assembly
from penstock_wire.openai import OpenAIDialect
from penstock_wire.openai.billing import cost_of

CODEC = OpenAIDialect(base_url="https://api.example.com/v1")
REQUEST = ChatRequest(model="m", messages=(Message("user", "hi"),))


@pytest.mark.parametrize(
    ("usage", "dollars"),
    [
        ({"cost": 0.000015, "is_byok": False}, 0.000015),
        ({"cost": 0}, 0.0),  # a model that is free
        ({"cost": 0.001, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.02}}, 0.021),
        ({"cost": 0.001, "is_byok": False, "cost_details": {"upstream_inference_cost": 0.02}}, 0.001),
        ({"cost": {"input_tokens_cost": 0.1, "total_cost": 0.25}}, 0.25),
        ({"cost_in_usd_ticks": 1176500}, 0.00011765),
    ],
)
def test_a_reported_cost_is_read(usage: dict[str, Any], dollars: float) -> None:
    assert cost_of(usage) == pytest.approx(dollars, abs=1e-12)


@pytest.mark.parametrize(
    "usage",
    [
        None,
        [],
        {},
        {"cost": None},
        {"cost": "1"},
        {"cost": True},
        {"cost": -1},
        {"cost": float("nan")},
        {"cost": float("inf")},
        {"cost": 10**400},
        {"cost": {}},
        {"cost": {"total_cost": 0}},
        {"cost_in_usd_ticks": 0},
        {"cost_in_usd_ticks": []},
    ],
)
def test_what_is_no_cost_is_unknown(usage: Any) -> None:
    assert cost_of(usage) is None


def test_plain_and_streamed_answers_carry_it_alike() -> None:
    usage = {"prompt_tokens": 5, "completion_tokens": 2, "cost": 0.25}
    head = HttpHead(200, {"content-type": "text/event-stream"})
    plain = {"choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}], "usage": usage}
    answer = CODEC.decode(REQUEST, HttpResponse(200, {}, body=json.dumps(plain).encode()))
    events = [
        {"choices": [{"index": 0, "delta": {"content": "hi"}}]},
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
        # The finish reason again, beside the usage: OpenRouter does so.
        {"choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": "stop"}], "usage": usage},
    ]
    decoder, assembly = CODEC.decoder(REQUEST, head), Assembly()
    body = "".join(f"data: {json.dumps(event)}\n\n" for event in events) + "data: [DONE]\n\n"
    for chunk in [*decoder.feed(body.encode()), *decoder.close()]:
        assembly.add(chunk)
    assert answer.extra["cost_usd"] == decoder.extra["cost_usd"] == 0.25  # type: ignore[union-attr]
    assert assembly.response().usage == answer.usage
