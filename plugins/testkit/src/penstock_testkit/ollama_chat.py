"""
What a simulated Ollama model says, and how the native API writes it: one object, or lines of a stream.

The model is the one of the OpenAI dialect (its rules are in `openai_chat`): a request is put into that
form, and the answer back into Ollama's. Tokens are words.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from penstock_testkit.openai_chat import CREATED, chat_completion
from penstock_testkit.plan import Data
from penstock_testkit.received import ReceivedRequest

if TYPE_CHECKING:
    from penstock_testkit.dialect import Settings

_WORDS = re.compile(r"\s*\S+\s*$|\s*\S+|\s+$")
_THOUGHT = "The user wants an answer."


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """
    A model's answer before it is written down.

    Args:
        text: what it says.
        calls: its tool calls, in OpenAI's form.
        done_reason: `stop` or `length`.
        prompt: tokens of the prompt.
        output: tokens of the answer, thoughts included.
        thinking: its thoughts.
    """

    text: str
    calls: list[dict[str, Any]]
    done_reason: str
    prompt: int
    output: int
    thinking: str = ""


def speak(request: ReceivedRequest, settings: Settings, text: str | None = None) -> Said:
    """
    The answer to a checked request of `/api/chat` or `/api/generate`.

    Args:
        request: as it arrived.
        settings: what the upstream says.
        text: said instead of what the settings say.

    Raises:
        ValueError: a schema of the request cannot be satisfied.
    """
    fields = request.json
    rule = settings.text
    if callable(rule):
        # The rule is about the request that came, not about its translation.
        settings = replace(settings, text=lambda _, prompt: rule(request, prompt))
    answer = json.loads(next(iter(chat_completion(_translated(request), settings, text))).data)
    choice, usage = answer["choices"][0], answer["usage"]
    thinking = _THOUGHT if fields.get("think") else ""
    return Said(
        text=choice["message"]["content"] or "",
        calls=choice["message"].get("tool_calls") or [],
        done_reason="length" if choice["finish_reason"] == "length" else "stop",
        prompt=usage["prompt_tokens"],
        output=usage["completion_tokens"] + len(thinking.split()),
        thinking=thinking,
    )


def document(request: ReceivedRequest, said: Said, *, ids: bool) -> Data:
    """A plain answer; `ids` tells whether tool calls have ids, as they do since 0.12.10."""
    message: dict[str, Any] = {"role": "assistant", "content": said.text}
    if said.thinking:
        message["thinking"] = said.thinking
    if said.calls:
        message["tool_calls"] = _calls(said, ids=ids)
    start = {"model": request.model, "created_at": _stamp(request.number)}
    body = {**start, **_placed(request, message), **_end(request.number, said)}
    return Data(_line(body), "content")


def lines(request: ReceivedRequest, said: Said, *, ids: bool) -> Iterator[Data]:
    """The same answer as a stream: a line for each word, one for all tool calls, and the last one."""
    start = {"model": request.model, "created_at": _stamp(request.number)}

    def line(**fields: Any) -> Data:
        message = {"role": "assistant", "content": "", **fields}
        return Data(_line({**start, **_placed(request, message), "done": False}), "content")

    for word in _WORDS.findall(said.thinking):
        yield line(thinking=word)
    for word in _WORDS.findall(said.text):
        yield line(content=word)
    if said.calls:
        yield line(tool_calls=_calls(said, ids=ids))
    last = _placed(request, {"role": "assistant", "content": ""})
    yield Data(_line({**start, **last, **_end(request.number, said)}), "finish")


def _placed(request: ReceivedRequest, message: dict[str, Any]) -> dict[str, Any]:
    """Where `/api/chat` and `/api/generate` put what the model says."""
    if request.path != "/api/generate":
        return {"message": message}
    thinking = {"thinking": message["thinking"]} if "thinking" in message else {}
    return {"response": message["content"], **thinking}


def _translated(request: ReceivedRequest) -> ReceivedRequest:
    """The request as the OpenAI dialect would have got it, plain."""
    fields = request.json
    options = fields.get("options") or {}
    messages = fields.get("messages") or [{"role": "user", "content": fields.get("prompt", "")}]
    told: dict[str, Any] = {"model": request.model, "messages": messages}
    for name, own in (("max_tokens", "num_predict"), ("stop", "stop")):
        value = options.get(own)
        if value is not None and value != -1:
            told[name] = value
    if fields.get("tools"):
        told["tools"] = fields["tools"]
    wanted = fields.get("format")
    if isinstance(wanted, dict):
        told["response_format"] = {"type": "json_schema", "json_schema": {"name": "value", "schema": wanted}}
    elif wanted == "json":
        told["response_format"] = {"type": "json_object"}
    return ReceivedRequest(
        number=request.number,
        at=request.at,
        method="POST",
        target="/v1/chat/completions",
        headers={},
        body=json.dumps(told).encode(),
    )


def _calls(said: Said, *, ids: bool) -> list[dict[str, Any]]:
    calls = []
    for index, call in enumerate(said.calls):
        function = call["function"]
        written = {"index": index, "name": function["name"], "arguments": json.loads(function["arguments"])}
        calls.append({"id": call["id"], "function": written} if ids else {"function": written})
    return calls


def _end(number: int, said: Said) -> dict[str, Any]:
    """The fields of the last line; a count of zero is left out, as Ollama does."""
    counts = {"prompt_eval_count": said.prompt, "eval_count": said.output}
    return {
        "done": True,
        "done_reason": said.done_reason,
        "total_duration": 1_000_000 * (number + said.output),
        "load_duration": 1_000_000,
        "prompt_eval_duration": 2_000_000,
        "eval_duration": 1_000_000 * said.output,
        **{name: count for name, count in counts.items() if count},
    }


def _stamp(number: int) -> str:
    moment = datetime.fromtimestamp(CREATED + number, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.000000000Z")


def _line(payload: dict[str, Any]) -> bytes:
    return json.dumps(payload, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n"


def prompt_words(fields: dict[str, Any]) -> int:
    """Tokens of what the caller wrote, by the simulator's count."""
    texts = [message.get("content") for message in fields.get("messages") or ()] + [fields.get("prompt")]
    return sum(len(text.split()) for text in texts if isinstance(text, str))
