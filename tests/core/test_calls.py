"""What a caller meets: exact request counts, the commit point, deadlines, errors before sending."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pydantic import BaseModel

from penstock import (
    AttemptTimeout,
    AuthenticationError,
    Client,
    ConfigError,
    DeadlineExceeded,
    InvalidRequestError,
    MalformedResponse,
    MissingCredentialError,
    OutputValidationError,
    OverloadedError,
    QuotaExceededError,
    RateLimitError,
    StreamInterrupted,
    UnknownModelError,
    UsageError,
)
from penstock_testkit import Simulator, faults

World = Callable[..., Any]


def test_always_503_is_asked_three_times(world: World) -> None:
    here = world([faults.status(503)] * 9)
    with pytest.raises(OverloadedError) as caught:
        here.chat()
    assert here.count == 3
    assert [each.number for each in caught.value.attempts] == [1, 2, 3]
    assert str(caught.value.target) == "openai/gpt-4o-mini"


def test_401_is_asked_once(world: World) -> None:
    here = world([faults.status(401)])
    with pytest.raises(AuthenticationError):
        here.chat()
    assert here.count == 1


def test_a_server_that_asks_for_one_and_a_half_seconds_gets_them(world: World) -> None:
    here = world([faults.status(429, retry_after=1.5)])
    assert here.chat().text
    first, second = here.simulator.requests
    assert second.at - first.at >= 1.5


def test_a_hint_past_the_deadline_ends_the_call_at_once(world: World) -> None:
    here = world([faults.status(429, retry_after=90)])
    with pytest.raises(RateLimitError) as caught:
        here.chat(timeout=10)
    assert (here.count, caught.value.retry_after, here.now()) == (1, 90, 0.0)


def test_a_cut_after_the_commit_point_is_not_repeated_and_carries_what_had_arrived(world: World) -> None:
    here = world([faults.cut(after=2)])
    with pytest.raises(StreamInterrupted) as caught:
        here.stream("tell me a story")
    assert here.count == 1
    assert caught.value.partial is not None
    assert caught.value.partial.text
    assert caught.value.partial.finish_reason is None


def test_a_stream_that_fails_before_its_first_event_is_repeated(world: World) -> None:
    here = world([faults.reset(after=0), faults.error_event(after=0)])
    chunks, stream = here.stream()
    assert "".join(chunk.text for chunk in chunks) == stream.answer.text
    assert here.count == 3


def test_an_empty_retry_budget_ends_calls_with_their_own_error(world: World) -> None:
    here = world([faults.status(503)] * 99, budget={"capacity": 3, "per_call": 0, "per_second": 0})
    for _ in range(4):
        with pytest.raises(OverloadedError) as caught:
            here.chat()
    assert here.count == 4 + 3
    assert caught.value.tags == ("budget_exhausted",)
    assert len(caught.value.attempts) == 1


def test_a_quota_error_is_not_throttling(world: World) -> None:
    here = world([faults.quota()])
    with pytest.raises(QuotaExceededError):
        here.chat()
    assert here.count == 1


def test_html_in_a_200_is_retried_and_named(world: World) -> None:
    here = world([faults.html()] * 3)
    with pytest.raises(MalformedResponse):
        here.chat()
    assert here.count == 3


def test_a_hanging_server_is_given_up_at_the_attempt_limit_and_repeated_once(world: World) -> None:
    here = world([faults.hang()] * 5, timeouts={"attempt": 30})
    with pytest.raises(AttemptTimeout, match="no answer within 30 s"):
        here.chat()
    assert here.count == 2


def test_a_hanging_server_cannot_outlast_the_total_time(world: World) -> None:
    here = world([faults.hang()] * 5)
    with pytest.raises(DeadlineExceeded, match="20 s"):
        here.chat(timeout=20)
    assert here.now() == pytest.approx(20)
    assert here.count == 1


def test_keep_alives_do_not_hold_a_stream_past_its_first_token_limit(world: World) -> None:
    here = world([faults.keep_alives(5.0)] * 2, retry=False)
    with pytest.raises(AttemptTimeout, match="no first token within 60 s"):
        here.stream()
    assert here.now() == pytest.approx(60)


def test_keep_alives_after_the_commit_point_do_not_count_as_data(world: World) -> None:
    here = world([faults.keep_alives(5.0, after=2)])
    with pytest.raises(StreamInterrupted, match="no data for 60 s") as caught:
        here.stream()
    assert caught.value.code == "idle_timeout"
    assert caught.value.partial.text


def test_a_dripping_stream_may_outlast_the_default_total_but_not_its_own(world: World) -> None:
    here = world(simulator=Simulator([faults.drip(30.0)] * 2, text="and on " * 60))
    chunks, _ = here.stream()
    assert here.now() > 600
    assert chunks
    with pytest.raises(DeadlineExceeded) as caught:
        here.stream(timeout=1200)
    assert caught.value.partial is not None


def test_closing_early_abandons_the_call_and_leaves_nothing_open(world: World) -> None:
    here = world()
    chunks, stream = here.stream(take=1)
    assert len(chunks) == 1
    assert here.trace()[-1][:3] == ("CallFinished", 0.0, "abandoned")
    with pytest.raises(UsageError, match="has not reached its end"):
        _ = stream.answer
    assert here.transport.open == ()


def test_a_streamed_answer_equals_the_plain_one(world: World) -> None:
    here = world()
    plain = here.chat("compare me")
    _, stream = here.stream("compare me")
    assert stream.answer.text == plain.text
    assert stream.answer.usage == plain.usage
    assert stream.answer.finish_reason == plain.finish_reason == "stop"


def test_more_texts_than_a_request_takes_are_sent_in_several_calls_and_joined(world: World) -> None:
    here = world([faults.ok(), faults.status(503)])
    texts = [f"text {number}" for number in range(2048 * 2 + 1)]
    result = here.embed(texts)
    assert here.count == 4
    assert [len(request.json["input"]) for request in here.simulator.requests] == [2048, 2048, 2048, 1]
    assert len(result.vectors) == len(texts)
    assert result.vectors[-1] == here.embed(texts[-1]).vectors[0]
    assert result.usage.input_tokens > 2048
    assert len(result.attempts) == 4


class Person(BaseModel):
    name: str
    age: int


def test_a_schema_brings_a_parsed_object(world: World) -> None:
    answer = world().chat("Ada Lovelace, 36", schema=Person)
    assert isinstance(answer.parsed, Person)


def test_an_answer_that_does_not_fit_its_schema_is_an_error_that_keeps_the_answer(world: World) -> None:
    here = world([faults.ok("no json at all")])
    with pytest.raises(OutputValidationError) as caught:
        here.chat(schema=Person)
    assert caught.value.answer.text == "no json at all"
    assert here.count == 1


def test_a_call_may_leave_a_stage_out_or_change_it(world: World) -> None:
    here = world([faults.status(503)] * 9)
    with pytest.raises(OverloadedError):
        here.chat(retry=False)
    assert here.count == 1
    with pytest.raises(OverloadedError):
        here.chat(retry={"max_attempts": 2})
    assert here.count == 3
    with pytest.raises(InvalidRequestError, match="retry: "):
        here.chat(retry={"max_attempts": 0})


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"messages": []}, "messages is empty"),
        ({"temperature": "hot"}, "temperature"),
        ({"tempratur": 1}, "did you mean 'temperature'"),
        ({"timeout": 0}, "timeout must be seconds above zero"),
        ({"timeout": "soon"}, "timeout must be seconds above zero"),
        ({"model": ""}, "model must be a name"),
        ({"model": 3}, "model must be a name"),
    ],
)
def test_bad_input_is_refused_before_any_request(
    world: World, parameters: dict[str, Any], message: str
) -> None:
    here = world()
    with pytest.raises(InvalidRequestError, match=message):
        here.chat(**parameters)
    assert here.count == 0


def test_an_unknown_model_lists_who_was_asked(world: World) -> None:
    here = world()
    with pytest.raises(UnknownModelError, match=r"no provider claims the model 'no-such-model'.*openai"):
        here.chat(model="no-such-model")
    with pytest.raises(UnknownModelError, match="pip install penstock-nosuch"):
        here.chat(model="nosuch/model")
    assert here.count == 0


def test_capabilities_are_the_providers_where_no_server_can_be_asked(world: World) -> None:
    here = world()
    assert {"chat", "tools", "vision"} <= here.run(here.client.capabilities("gpt-4o"))
    assert here.count == 0


def test_a_bare_name_goes_to_the_provider_that_claims_it(world: World) -> None:
    here = world()
    assert str(here.chat(model="gpt-4o").target) == "openai/gpt-4o"


def test_a_missing_key_names_the_variable() -> None:
    with Client(False, environ={}) as client, pytest.raises(MissingCredentialError, match="OPENAI_API_KEY"):
        client.chat("openai/gpt-4o", "hi")
    with pytest.raises(MissingCredentialError, match="OPENAI_API_KEY"):
        Client(False, environ={}, providers={"openai": {}})


def test_an_unknown_key_in_the_configuration_names_its_place(tmp_path: Any) -> None:
    path = tmp_path / "penstock.toml"
    path.write_text('[retry]\nmax_attemps = 4\n[providers.openai]\napi_key = "sk-test-0123456789"\n')
    with pytest.raises(ConfigError, match=r"penstock\.toml:2: .*'max_attemps'.*'max_attempts'"):
        Client(path, environ={})


def test_a_closed_client_says_so(world: World) -> None:
    here = world()
    here.run(here.client.close())
    with pytest.raises(UsageError, match="is closed"):
        here.chat()


def test_an_async_client_belongs_to_one_loop(make_world: Callable[..., Any]) -> None:
    import asyncio

    here = make_world("async")
    here.chat()
    with pytest.raises(UsageError, match="another event loop"):
        asyncio.run(here.client.chat("openai/gpt-4o", "hi"))


def test_a_client_that_is_never_closed_warns() -> None:
    client = Client(False, environ={})
    with pytest.warns(ResourceWarning, match="Client was never closed"):
        del client


def test_a_route_takes_as_many_texts_at_once_as_its_smallest_target(world: World) -> None:
    here = world(
        pipeline=["routing", "retry"],
        routes={"vectors": {"targets": ["openai/text-embedding-3-small", "openai/text-embedding-3-large"]}},
    )
    assert len(here.embed(["x"] * 2049, model="vectors").vectors) == 2049
    assert here.count == 2


def test_a_derived_call_shares_everything_but_its_target(world: World) -> None:
    here = world()
    here.chat()
    call = here.events[0].call
    other = call.towards(("other", "m"))
    pairs = {name: (getattr(call, name), getattr(other, name)) for name in type(call).__slots__}
    different = {name for name, (one, two) in pairs.items() if one is not two and one != two}
    assert different == {"target", "attempt"}
    assert other.attempts is call.attempts
    assert other.facts is call.facts
