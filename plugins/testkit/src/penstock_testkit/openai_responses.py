"""
The Responses API of the simulator: the same model as for chat completions, in that API's own words.

A request is rewritten into the form of chat completions, answered there, and the answer is written as items,
plain or as events. So both APIs say the same to the same question.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from penstock_testkit.failure import Failure
from penstock_testkit.openai import OpenAIDialect, answer_headers
from penstock_testkit.openai_chat import CREATED, chat_completion
from penstock_testkit.openai_errors import body_failure, error_body, key_failure
from penstock_testkit.plan import END, Data, Head
from penstock_testkit.received import ReceivedRequest

if TYPE_CHECKING:
    from penstock_testkit.dialect import Occasion
    from penstock_testkit.plan import Part, Plan

_RENAMED = {
    "max_output_tokens": "max_tokens",
    "model": "model",
    "parallel_tool_calls": "parallel_tool_calls",
    "temperature": "temperature",
    "top_p": "top_p",
}
_PIECE = 8
"""Characters of one piece of a tool call's arguments."""


class OpenAIResponsesDialect(OpenAIDialect):
    """OpenAI with `/v1/responses`; everything else as in `OpenAIDialect`."""

    def answer(self, occasion: Occasion, text: str | None = None) -> Plan:
        request = occasion.request
        if request.path != "/v1/responses":
            return super().answer(occasion, text)
        refusal = self._refusal(occasion)
        if refusal is not None:
            return self.failure(refusal, occasion)
        try:
            (whole,) = chat_completion(_as_chat(request), occasion.settings, text)
        except ValueError as error:
            return self.failure(Failure(kind="invalid_request", message=str(error), param="text"), occasion)
        response = _response(request, json.loads(whole.data))
        if not request.stream:
            return (Head(200, answer_headers(occasion)), Data(_dumps(response), "content"), END)
        head = Head(200, answer_headers(occasion, "text/event-stream; charset=utf-8"), "chunked")
        return (head, *_events(response), END)

    def error_event(self, failure: Failure, occasion: Occasion) -> Data:
        _, body = error_body(failure, occasion.request)
        return _event("error", {"sequence_number": 0, **body})

    def _refusal(self, occasion: Occasion) -> Failure | None:
        request, settings = occasion.request, occasion.settings
        if settings.api_key is not None:
            failure = key_failure(request, settings.api_key)
            if failure is not None:
                return failure
        if request.method != "POST":
            return Failure(kind="method_not_allowed")
        failure = body_failure(request.json, "input") or body_failure(_as_chat(request).json, "messages")
        if failure is None and settings.models is not None and request.model not in settings.models:
            failure = Failure(kind="model_not_found")
        if failure is None and occasion.reading.wait is not None:
            failure = Failure(kind="rate_limit", retry_after=occasion.reading.wait)
        return failure


def _as_chat(request: ReceivedRequest) -> ReceivedRequest:
    """The same question in the form of chat completions, not streamed."""
    fields = request.json
    chat = {chat: fields[own] for own, chat in _RENAMED.items() if fields.get(own) is not None}
    items = fields["input"]
    if isinstance(items, str):
        items = [{"role": "user", "content": items}]
    chat["messages"] = [_message(item) for item in items if isinstance(item, dict)]
    if fields.get("tools"):
        chat["tools"] = [_nested(tool) for tool in fields["tools"]]
    choice = fields.get("tool_choice")
    if choice is not None:
        chat["tool_choice"] = _nested(choice) if isinstance(choice, dict) else choice
    wanted = (fields.get("text") or {}).get("format")
    if wanted is not None:
        inner = {name: value for name, value in wanted.items() if name != "type"}
        chat["response_format"] = {"type": wanted.get("type"), "json_schema": inner}
    return ReceivedRequest(
        number=request.number,
        at=request.at,
        method=request.method,
        target=request.path,
        headers=request.headers,
        body=_dumps(chat),
        connection=request.connection,
    )


def _nested(tool: Mapping[str, Any]) -> dict[str, Any]:
    """A tool, or the choice of one, with its description inside."""
    kind = tool.get("type", "function")
    return {"type": kind, kind: {name: value for name, value in tool.items() if name != "type"}}


def _message(item: dict[str, Any]) -> dict[str, Any]:
    kind = item.get("type", "message")
    if kind.endswith("_output"):
        return {"role": "tool", "tool_call_id": item.get("call_id"), "content": _texts(item.get("output"))}
    if kind != "message":
        return {"role": "assistant", "content": None}
    return {"role": item.get("role", "user"), "content": _texts(item.get("content"))}


def _texts(content: Any) -> Any:
    if not isinstance(content, list):
        return content
    return [
        {"type": "text", "text": part["text"]}
        for part in content
        if isinstance(part, dict) and "text" in part
    ]


def _response(request: ReceivedRequest, chat: dict[str, Any]) -> dict[str, Any]:
    """A chat completion as a response object."""
    (choice, *_) = chat["choices"]
    message, number = choice["message"], request.number
    output: list[dict[str, Any]] = []
    if message["content"] is not None:
        part = {"type": "output_text", "text": message["content"], "annotations": [], "logprobs": []}
        output.append(
            {
                "type": "message",
                "id": f"msg_{number:024x}",
                "role": "assistant",
                "status": "completed",
                "content": [part],
            }
        )
    output += [
        {
            "type": "function_call",
            "id": f"fc_{number:016x}{position:08x}",
            "call_id": call["id"],
            "name": call["function"]["name"],
            "arguments": call["function"]["arguments"],
            "status": "completed",
        }
        for position, call in enumerate(message.get("tool_calls") or ())
    ]
    usage, short = chat["usage"], choice["finish_reason"] == "length"
    return {
        "id": f"resp_{number:024x}",
        "object": "response",
        "created_at": CREATED + number,
        "status": "incomplete" if short else "completed",
        "error": None,
        "incomplete_details": {"reason": "max_output_tokens"} if short else None,
        "model": request.model,
        "output": output,
        "store": request.json.get("store", True),
        "service_tier": "default",
        "usage": {
            "input_tokens": usage["prompt_tokens"],
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": usage["completion_tokens"],
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": usage["total_tokens"],
        },
    }


def _events(response: dict[str, Any]) -> Iterator[Data]:
    begun = {**response, "status": "in_progress", "incomplete_details": None, "output": [], "usage": None}
    yield _event("response.created", {"response": begun})
    yield _event("response.in_progress", {"response": begun})
    for index, item in enumerate(response["output"]):
        at = {"output_index": index}
        empty: dict[str, Any] = {"content": []} if item["type"] == "message" else {"arguments": ""}
        added = {**item, **empty, "status": "in_progress"}
        yield _event("response.output_item.added", {**at, "item": added})
        at["item_id"] = item["id"]
        if item["type"] == "message":
            yield from _text_events({**at, "content_index": 0}, item["content"][0])
        else:
            name, arguments = "response.function_call_arguments", item["arguments"]
            for start in range(0, len(arguments), _PIECE):
                piece = arguments[start : start + _PIECE]
                yield _event(f"{name}.delta", {**at, "delta": piece}, "content")
            yield _event(f"{name}.done", {**at, "arguments": arguments})
        yield _event("response.output_item.done", {"output_index": index, "item": item})
    yield _event(f"response.{response['status']}", {"response": response}, "finish")


def _text_events(at: dict[str, Any], part: dict[str, Any]) -> Iterator[Data]:
    yield _event("response.content_part.added", {**at, "part": {**part, "text": ""}})
    text = part["text"]
    for word in _words(text):
        yield _event("response.output_text.delta", {**at, "delta": word, "logprobs": []}, "content")
    yield _event("response.output_text.done", {**at, "text": text, "logprobs": []})
    yield _event("response.content_part.done", {**at, "part": part})


def _words(text: str) -> Iterator[str]:
    start = 0
    while start < len(text):
        end = text.find(" ", start + 1)
        end = len(text) if end < 0 else end
        yield text[start:end]
        start = end


def _event(name: str, fields: dict[str, Any], part: Part = "other") -> Data:
    data = _dumps({"type": name, **fields})
    return Data(b"event: " + name.encode() + b"\ndata: " + data + b"\n\n", part)


def _dumps(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")
