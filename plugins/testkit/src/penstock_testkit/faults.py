"""
Faults: what can go wrong with an answer, each a function from a plan to a plan.

Where a fault strikes is told by `after`: None before the head, 0 right behind it, n after n content
events of a stream (after all of them when there are fewer). A plain answer has no events; any n above 0
strikes in the middle of its body.

    Simulator(faults=[status(503), status(429, retry_after=1.5), cut(after=2)])
    Simulator(faults=[hang().when(lambda request: request.stream)], repeat=True)
    Simulator(rate={reset(): 0.05, overloaded(): 0.1}, seed=7)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from penstock_testkit.failure import Failure, Kind, RetryAfterForm, kind_of, retry_after_headers
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
    Step,
    head_of,
)

if TYPE_CHECKING:
    from penstock_testkit.dialect import Occasion
    from penstock_testkit.received import ReceivedRequest

Change = Callable[[Plan, "Occasion"], Plan]
Condition = Callable[["ReceivedRequest"], bool]


@dataclass(frozen=True, slots=True, repr=False)
class Fault:
    """
    One thing that goes wrong, as an entry of a script or of a table of rates.

    Args:
        label: how it shows itself; two faults of one label and condition are equal.
        change: `(plan, occasion) -> plan`.
        condition: the requests it is meant for; None is every request.
    """

    label: str
    change: Change = field(compare=False)
    condition: Condition | None = None

    def __call__(self, plan: Plan, occasion: Occasion) -> Plan:
        return self.change(plan, occasion)

    def when(self, condition: Condition) -> Fault:
        """The same fault for the requests that `condition` accepts; other requests leave it in the script."""
        return replace(self, condition=condition)

    def meets(self, request: ReceivedRequest) -> bool:
        """Whether it is meant for this request."""
        return self.condition is None or self.condition(request)

    def __repr__(self) -> str:
        if self.condition is None:
            return self.label
        return f"{self.label}.when({getattr(self.condition, '__name__', self.condition)})"


def ok(text: str | None = None) -> Fault:
    """Nothing goes wrong; with `text`, the model says that this once."""

    def change(plan: Plan, occasion: Occasion) -> Plan:
        return plan if text is None else occasion.dialect.answer(occasion, text)

    return Fault(_label("ok", text), change)


def chain(*faults: Fault) -> Fault:
    """Several faults on one answer, the first applied first: `chain(status(503), slow_first_token(2))`."""

    def change(plan: Plan, occasion: Occasion) -> Plan:
        for fault in faults:
            plan = fault(plan, occasion)
        return plan

    return Fault(_label("chain", *faults), change)


def status(
    code: int,
    *,
    kind: Kind | None = None,
    retry_after: float | None = None,
    form: RetryAfterForm = "seconds",
    message: str | None = None,
    body: bytes | str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Fault:
    """
    An error answer in the provider's own words.

    Args:
        code: HTTP status.
        kind: what it means, where the status leaves that open.
        retry_after: seconds the headers ask for.
        form: how they ask: `seconds`, `ms` or `date`.
        message: replaces the provider's text.
        body: replaces the whole body.
        headers: added, and replacing those of the same name; names in lower case.
    """

    def change(_: Plan, occasion: Occasion) -> Plan:
        failure = Failure(kind=kind or kind_of(code), status=code, message=message, retry_after=retry_after)
        plan = occasion.dialect.failure(failure, occasion)
        wait = retry_after_headers(retry_after, form, occasion.wall)
        if body is not None:
            raw = body.encode() if isinstance(body, str) else body
            plan = (*(step for step in plan if type(step) is Head), Data(raw, "content"), END)
        return _with_headers(plan, {**wait, **(headers or {})})

    label = _label(
        "status",
        code,
        kind=kind,
        retry_after=retry_after,
        form=None if form == "seconds" else form,
        message=message,
        body=body,
        headers=headers,
    )
    return Fault(label, change)


def quota() -> Fault:
    """The money is spent: OpenAI's 429 `insufficient_quota`; a wait does not help."""
    return replace(status(429, kind="quota"), label="quota()")


def overloaded(code: int = 503, *, retry_after: float | None = None) -> Fault:
    """The provider has no room: 503, or 529 as some send it."""
    label = _label("overloaded", None if code == 503 else code, retry_after=retry_after)
    return replace(status(code, kind="overloaded", retry_after=retry_after), label=label)


def refuse() -> Fault:
    """
    The client cannot connect.

    The request is counted all the same. A real server has accepted the connection before it can
    decide, so there it is a reset.
    """
    return Fault("refuse()", lambda plan, occasion: (Refuse(),))


def reset(after: int | None = None) -> Fault:
    """The connection breaks with a TCP reset."""
    return _interruption("reset", after, Reset())


def hang(after: int | None = None) -> Fault:
    """The connection stays open and nothing more comes, for ever."""
    return _interruption("hang", after, Hang())


def cut(after: int | None = 1, *, inside_chunk: bool = False) -> Fault:
    """The connection ends without the framing's end; `inside_chunk` ends it within a chunk."""
    return _interruption("cut", after, Close(inside_chunk), inside_chunk=inside_chunk or None)


def slow_first_token(seconds: float) -> Fault:
    """A stream's head comes at once and its events late; a plain answer comes late as a whole."""

    def change(plan: Plan, occasion: Occasion) -> Plan:
        at = _behind_head(plan) if _is_stream(plan) else 0
        return (*plan[:at], Pause(seconds), *plan[at:])

    return Fault(_label("slow_first_token", seconds), change)


def drip(seconds: float, *, size: int | None = None) -> Fault:
    """
    The body comes in small pieces.

    Args:
        seconds: before each piece.
        size: bytes of a piece; None is one event of a stream, or 16 bytes of a plain body.
    """

    def change(plan: Plan, occasion: Occasion) -> Plan:
        piece = size if size is not None or _is_stream(plan) else 16
        dripped: list[Step] = []
        for step in plan:
            if type(step) is not Data:
                dripped.append(step)
                continue
            width = piece or max(1, len(step.data))
            for start in range(0, len(step.data), width):
                dripped += (Pause(seconds), Data(step.data[start : start + width], step.part))
        return tuple(dripped)

    return Fault(_label("drip", seconds, size=size), change)


def unterminated(*, done: bool = False) -> Fault:
    """
    A stream ends properly, but its finish reason never came; plain answers are left alone.

    Args:
        done: send the `[DONE]` marker all the same.
    """
    dropped = {"finish", "usage"} if done else {"finish", "usage", "done"}

    def change(plan: Plan, occasion: Occasion) -> Plan:
        return tuple(step for step in plan if type(step) is not Data or step.part not in dropped)

    return Fault(_label("unterminated", done=done or None), change)


def error_event(
    code: int = 500, *, after: int = 0, kind: Kind | None = None, message: str | None = None
) -> Fault:
    """
    An error inside a 200: an event that ends the stream after `after` content events, or the body of a
    plain answer.
    """

    def change(plan: Plan, occasion: Occasion) -> Plan:
        failure = Failure(kind=kind or kind_of(code), status=code, message=message)
        if not _is_stream(plan):
            (_, *rest) = occasion.dialect.failure(failure, occasion)
            return (*(step for step in plan if type(step) is Head), *rest)
        at = _strike(plan, after)
        return (*plan[:at], occasion.dialect.error_event(failure, occasion), END)

    label = _label("error_event", code, after=after or None, kind=kind, message=message)
    return Fault(label, change)


def malformed(after: int = 0) -> Fault:
    """The JSON is broken: that of the event after `after` content events, or that of the plain body."""

    def change(plan: Plan, occasion: Occasion) -> Plan:
        seen = 0
        for index, step in enumerate(plan):
            if type(step) is Data and step.part == "content":
                if seen == after or not _is_stream(plan):
                    return (*plan[:index], Data(_half(step.data), "content"), *plan[index + 1 :])
                seen += 1
        return plan

    return Fault(_label("malformed", after=after or None), change)


def html(code: int = 200) -> Fault:
    """A proxy's HTML page instead of the answer."""
    page = (
        "<!DOCTYPE html>\n<html><head><title>Bad gateway</title></head>\n"
        "<body><h1>Bad gateway</h1><p>The web server reported an error.</p></body></html>\n"
    )
    plan = (Head(code, {"content-type": "text/html; charset=UTF-8"}), Data(page.encode(), "content"), END)
    return Fault(_label("html", None if code == 200 else code), lambda _, occasion: plan)


def keep_alives(every: float, *, after: int = 0) -> Fault:
    """After `after` content events only keep-alives come, one `every` seconds, for ever."""

    def change(plan: Plan, occasion: Occasion) -> Plan:
        stream = _is_stream(plan)
        beat = occasion.dialect.keep_alive if stream else b" "
        at = _strike(plan, after) if stream else _behind_head(plan)
        chunked = tuple(replace(s, framing="chunked") if type(s) is Head else s for s in plan[:at])
        return (*chunked, Repeat((Data(beat), Pause(every))))

    return Fault(_label("keep_alives", every, after=after or None), change)


def oversized(size: int = 64 * 1024 * 1024) -> Fault:
    """
    The body is longer than `size` bytes: white space before the JSON of a plain answer, one endless
    comment line before the events of a stream.
    """
    block = 64 * 1024
    times = -(-size // block)

    def change(plan: Plan, occasion: Occasion) -> Plan:
        at = _behind_head(plan)
        if not _is_stream(plan):
            return (*plan[:at], Repeat((Data(b" " * block),), times), *plan[at:])
        padding = (Data(b": "), Repeat((Data(b"x" * block),), times), Data(b"\n\n"))
        return (*plan[:at], *padding, *plan[at:])

    return Fault(_label("oversized", None if size == 64 * 1024 * 1024 else size), change)


def wrong_content_type(content_type: str = "application/octet-stream") -> Fault:
    """The right body under a wrong `content-type`."""
    return Fault(
        _label("wrong_content_type", content_type),
        lambda plan, occasion: _with_headers(plan, {"content-type": content_type}),
    )


def empty() -> Fault:
    """The right head and no body."""
    return Fault("empty()", lambda plan, occasion: tuple(s for s in plan if type(s) is not Data))


def _interruption(name: str, after: int | None, step: Step, **options: Any) -> Fault:
    def change(plan: Plan, occasion: Occasion) -> Plan:
        if after is None:
            return (step,)
        at = _strike(plan, after)
        if after == 0 or _is_stream(plan):
            return (*plan[:at], step, *plan[at:])
        body = next((s for s in plan if type(s) is Data), None)
        if body is None:
            return (*plan[:at], step, *plan[at:])
        at, half = plan.index(body), len(body.data) // 2
        halves = (Data(body.data[:half], body.part), step, Data(body.data[half:], body.part))
        return (*plan[:at], *halves, *plan[at + 1 :])

    return Fault(_label(name, after=after, **options), change)


def _behind_head(plan: Plan) -> int:
    return next((index + 1 for index, step in enumerate(plan) if type(step) is Head), 0)


def _strike(plan: Plan, after: int) -> int:
    """The index behind the `after`-th content event, or behind the last when there are fewer."""
    at, seen = _behind_head(plan), 0
    for index, step in enumerate(plan):
        if seen == after:
            break
        if type(step) is Data and step.part == "content":
            at, seen = index + 1, seen + 1
    return at


def _is_stream(plan: Plan) -> bool:
    head = head_of(plan)
    return head is not None and head.framing != "length"


def _half(data: bytes) -> bytes:
    """The first half of a body or event, with the line ends that close it."""
    bare = data.rstrip(b"\r\n")
    return bare[: len(bare) // 2] + data[len(bare) :]


def _with_headers(plan: Plan, headers: Mapping[str, str]) -> Plan:
    return tuple(
        replace(step, headers={**step.headers, **headers}) if type(step) is Head else step for step in plan
    )


def _label(name: str, *arguments: object, **options: object) -> str:
    shown = [repr(argument) for argument in arguments if argument is not None]
    shown += [f"{key}={value!r}" for key, value in options.items() if value is not None]
    return f"{name}({', '.join(shown)})"
