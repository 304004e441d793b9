"""Each fault as a change of a plan, and that it never touches the plan it was given."""

from __future__ import annotations

import json
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from itertools import islice
from typing import Any

import pytest

from penstock_testkit import Simulator, faults
from penstock_testkit.plan import (
    END,
    Close,
    Data,
    Hang,
    Head,
    Pause,
    Plan,
    Refuse,
    Repeat,
    Reset,
    body_of,
    content_length,
    head_of,
    steps,
)

PLAIN = {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}
STREAM = {**PLAIN, "stream": True, "stream_options": {"include_usage": True}}


@pytest.fixture
def changed(plan_of: Callable[..., Plan]) -> Callable[..., tuple[Plan, Plan]]:
    """The plan without and with a fault."""

    def build(fault: faults.Fault, body: Any = PLAIN) -> tuple[Plan, Plan]:
        healthy = Simulator(text="one two three")
        faulty = Simulator([fault], text="one two three")
        return plan_of(healthy, body), plan_of(faulty, body)

    return build


def kinds(plan: Plan) -> list[str]:
    return [step.part if isinstance(step, Data) else type(step).__name__ for step in plan]


def status_of(plan: Plan) -> int:
    head = head_of(plan)
    assert head is not None
    return head.status


@pytest.mark.parametrize(
    ("fault", "status", "kind", "code"),
    [
        (faults.status(500), 500, "server_error", None),
        (faults.status(502), 502, "server_error", None),
        (faults.overloaded(), 503, "server_error", None),
        (faults.overloaded(529), 529, "server_error", None),
        (faults.status(401), 401, "invalid_request_error", "invalid_api_key"),
        (faults.status(403), 403, "invalid_request_error", "unsupported_country_region_territory"),
        (faults.status(404), 404, "invalid_request_error", "model_not_found"),
        (faults.status(408), 408, "invalid_request_error", "timeout"),
        (faults.status(409), 409, "invalid_request_error", "conflict"),
        (faults.status(429), 429, "requests", "rate_limit_exceeded"),
        (faults.quota(), 429, "insufficient_quota", "insufficient_quota"),
        (faults.status(429, kind="oversized_request"), 429, "tokens", "rate_limit_exceeded"),
        (faults.status(400, kind="context_length"), 400, "invalid_request_error", "context_length_exceeded"),
        (faults.status(400, kind="content_filter"), 400, "invalid_request_error", "content_policy_violation"),
    ],
)
def test_an_error_answer_has_the_body_of_the_provider(
    changed: Callable[..., tuple[Plan, Plan]], fault: faults.Fault, status: int, kind: str, code: str | None
) -> None:
    _, plan = changed(fault)
    error = json.loads(body_of(plan))["error"]
    assert (status_of(plan), error["type"], error["code"]) == (status, kind, code)


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("seconds", {"retry-after": "1.5"}),
        ("ms", {"retry-after-ms": "1500", "retry-after": "2"}),
        ("date", {"retry-after": "Thu, 01 Jan 2026 00:00:02 GMT"}),
    ],
)
def test_a_wait_is_asked_for_in_three_forms(
    changed: Callable[..., tuple[Plan, Plan]], form: Any, expected: dict[str, str]
) -> None:
    _, plan = changed(faults.status(429, retry_after=1.5, form=form))
    head = head_of(plan)
    assert head is not None
    assert {n: v for n, v in head.headers.items() if n.startswith("retry-after")} == expected
    if form == "date":
        assert parsedate_to_datetime(head.headers["retry-after"]).timestamp() == 1_767_225_602


def test_an_error_answer_can_be_replaced_word_by_word(changed: Callable[..., tuple[Plan, Plan]]) -> None:
    _, plan = changed(faults.status(502, body="bad", headers={"content-type": "text/plain", "x-a": "1"}))
    head = head_of(plan)
    assert head is not None
    assert (head.status, head.headers["content-type"], head.headers["x-a"]) == (502, "text/plain", "1")
    assert body_of(plan) == b"bad"
    _, plan = changed(faults.status(500, message="because"))
    assert json.loads(body_of(plan))["error"]["message"] == "because"


@pytest.mark.parametrize(
    ("make", "step"), [(faults.reset, Reset()), (faults.hang, Hang()), (faults.cut, Close())]
)
def test_an_interruption_strikes_where_it_is_told(
    changed: Callable[..., tuple[Plan, Plan]], make: Callable[..., faults.Fault], step: Any
) -> None:
    name = type(step).__name__
    assert changed(make(after=None), STREAM)[1] == (step,)
    assert kinds(changed(make(after=0), STREAM)[1])[:2] == ["Head", name]
    assert kinds(changed(make(after=2), STREAM)[1])[:5] == ["Head", "other", "content", "content", name]
    assert kinds(changed(make(after=99), STREAM)[1])[4:6] == ["content", name]


def test_a_plain_answer_is_interrupted_in_the_middle_of_its_body(
    changed: Callable[..., tuple[Plan, Plan]],
) -> None:
    healthy, plan = changed(faults.cut(after=1))
    whole = body_of(healthy)
    assert body_of(plan) == whole[: len(whole) // 2]
    assert content_length(plan) == len(whole)


def test_refusing_comes_before_everything(changed: Callable[..., tuple[Plan, Plan]]) -> None:
    assert changed(faults.refuse())[1] == (Refuse(),)


def test_a_slow_first_token_lets_the_head_of_a_stream_through(
    changed: Callable[..., tuple[Plan, Plan]],
) -> None:
    healthy, plan = changed(faults.slow_first_token(3.0), STREAM)
    assert plan == (healthy[0], Pause(3.0), *healthy[1:])
    healthy, plan = changed(faults.slow_first_token(3.0))
    assert plan == (Pause(3.0), *healthy)


def test_dripping_keeps_the_bytes_and_adds_time(changed: Callable[..., tuple[Plan, Plan]]) -> None:
    healthy, plan = changed(faults.drip(0.5), STREAM)
    assert body_of(plan) == body_of(healthy)
    assert sum(isinstance(step, Pause) for step in plan) == sum(isinstance(s, Data) for s in healthy)
    healthy, plan = changed(faults.drip(0.5, size=10))
    assert body_of(plan) == body_of(healthy)
    assert {len(step.data) for step in plan[:-2] if isinstance(step, Data)} == {10}


def test_an_unterminated_stream_ends_without_its_finish_reason(
    changed: Callable[..., tuple[Plan, Plan]],
) -> None:
    _, plan = changed(faults.unterminated(), STREAM)
    assert kinds(plan) == ["Head", "other", "content", "content", "content", "End"]
    _, plan = changed(faults.unterminated(done=True), STREAM)
    assert kinds(plan)[-2:] == ["done", "End"]
    healthy, plan = changed(faults.unterminated())
    assert plan == healthy


def test_an_error_event_ends_a_stream_inside_a_200(changed: Callable[..., tuple[Plan, Plan]]) -> None:
    _, plan = changed(faults.error_event(503, after=2, message="gone"), STREAM)
    assert status_of(plan) == 200
    assert kinds(plan) == ["Head", "other", "content", "content", "other", "End"]
    last = [step.data for step in plan if isinstance(step, Data)][-1]
    assert json.loads(last.removeprefix(b"data: "))["error"]["message"] == "gone"
    _, plan = changed(faults.error_event(503))
    assert status_of(plan) == 200
    assert "error" in json.loads(body_of(plan))


def test_malformed_json_comes_in_a_well_framed_answer(changed: Callable[..., tuple[Plan, Plan]]) -> None:
    _, plan = changed(faults.malformed())
    with pytest.raises(json.JSONDecodeError):
        json.loads(body_of(plan))
    assert plan[-1] == END
    healthy, plan = changed(faults.malformed(after=1), STREAM)
    broken = [index for index, step in enumerate(plan) if step != healthy[index]]
    assert broken == [3]
    assert plan[3].data.endswith(b"\n\n")  # type: ignore[union-attr]
    with pytest.raises(json.JSONDecodeError):
        json.loads(plan[3].data.removeprefix(b"data: "))  # type: ignore[union-attr]


def test_keep_alives_go_on_for_ever(changed: Callable[..., tuple[Plan, Plan]]) -> None:
    _, plan = changed(faults.keep_alives(10.0, after=1), STREAM)
    assert kinds(plan) == ["Head", "other", "content", "Repeat"]
    unrolled = list(islice(steps(plan), 1003))
    assert unrolled[-1] == Pause(10.0)
    assert unrolled[-2] == Data(b": keep-alive\n\n")
    _, plan = changed(faults.keep_alives(10.0))
    assert plan[0].framing == "chunked"  # type: ignore[union-attr]
    assert plan[1:] == (Repeat((Data(b" "), Pause(10.0))),)


def test_an_oversized_body_is_still_the_right_answer(changed: Callable[..., tuple[Plan, Plan]]) -> None:
    healthy, plan = changed(faults.oversized(1_000_000))
    assert content_length(plan) > 1_000_000
    assert json.loads(body_of(plan)) == json.loads(body_of(healthy))
    healthy, plan = changed(faults.oversized(1_000_000), STREAM)
    padding, _, rest = body_of(plan).partition(b"\n\n")
    assert (padding[:2], len(padding) > 1_000_000, rest) == (b": ", True, body_of(healthy))


def test_the_page_of_a_proxy_is_html(changed: Callable[..., tuple[Plan, Plan]]) -> None:
    _, plan = changed(faults.html(502), STREAM)
    head = head_of(plan)
    assert head is not None
    assert (head.status, head.headers) == (502, {"content-type": "text/html; charset=UTF-8"})
    assert body_of(plan).startswith(b"<!DOCTYPE html>")


def test_a_wrong_content_type_and_an_empty_body(changed: Callable[..., tuple[Plan, Plan]]) -> None:
    healthy, plan = changed(faults.wrong_content_type("text/plain"))
    assert head_of(plan).headers["content-type"] == "text/plain"  # type: ignore[union-attr]
    assert body_of(plan) == body_of(healthy)
    assert body_of(changed(faults.empty(), STREAM)[1]) == b""


def test_an_answer_can_be_scripted_once(changed: Callable[..., tuple[Plan, Plan]]) -> None:
    _, plan = changed(faults.ok("Just this."))
    assert json.loads(body_of(plan))["choices"][0]["message"]["content"] == "Just this."


def test_a_chain_applies_its_faults_in_order(changed: Callable[..., tuple[Plan, Plan]]) -> None:
    _, plan = changed(faults.chain(faults.status(503), faults.slow_first_token(2.0)))
    assert plan[0] == Pause(2.0)
    assert status_of(plan) == 503


def test_a_function_of_ones_own_is_a_fault(changed: Callable[..., tuple[Plan, Plan]]) -> None:
    mine = faults.Fault("teapot()", lambda plan, occasion: (Head(418), Data(b"tea"), END))
    assert status_of(changed(mine)[1]) == 418
    assert repr(mine) == "teapot()"
