"""
From the JSON of an answer to a response: the parts that plain and streamed answers share.

Nothing here trusts a type: a field of the wrong one counts as missing. `/api/generate` and
`/api/embeddings`, which put the same things into other fields, are read too.
"""

from __future__ import annotations

from typing import Any
from zlib import crc32

from penstock.messages import EMPTY, ToolCall
from penstock.responses import ChatResponse, Choice, EmbedResponse, FinishReason, Usage
from penstock_wire.jsonbytes import dumps

_FINISH: dict[str, FinishReason] = {"stop": "stop", "length": "length"}
_CALL_FIELDS = frozenset({"id", "type", "index", "function"})
_OWN_FIELDS = frozenset(
    {
        "model",
        "message",
        "response",
        "thinking",
        "tool_calls",
        "done",
        "done_reason",
        "prompt_eval_count",
        "eval_count",
        "logprobs",
        "error",
    }
)


def message_of(payload: dict[str, Any]) -> dict[str, Any] | None:
    """The message in a document or line, in the form of `/api/chat`; None when there is none."""
    message = payload.get("message")
    if isinstance(message, dict):
        return message
    if isinstance(payload.get("response"), str):
        return {**payload, "content": payload["response"]}
    return None


def text_of(message: dict[str, Any], name: str) -> str:
    """A field's text, "" for anything else."""
    value = message.get(name)
    return value if isinstance(value, str) else ""


def finish_reason(raw: Any, *, called: bool) -> tuple[FinishReason, str | None]:
    """
    The normal and the raw word of an answer that is done.

    The reason may be missing (`done: true` is the marker); Ollama says `stop` after tool calls; `load` and
    `unload` tell of the model, not of an answer.
    """
    word = raw if isinstance(raw, str) and raw else None
    normal: FinishReason = "stop" if word is None else _FINISH.get(word, "other")
    return ("tool_calls" if called and normal == "stop" else normal), word


def usage_of(payload: dict[str, Any]) -> Usage:
    """Tokens of an answer that is done: Ollama leaves out a count of zero."""
    return Usage(_count(payload.get("prompt_eval_count")), _count(payload.get("eval_count")))


def _count(value: Any) -> int:
    return value if type(value) is int and value >= 0 else 0


def extra_of(payload: dict[str, Any]) -> dict[str, Any]:
    """Top-level fields worth keeping: durations in nanoseconds, `created_at`, `remote_model`, ..."""
    return {name: value for name, value in payload.items() if name not in _OWN_FIELDS and value is not None}


class ToolCalls:
    """The tool calls of one answer, which Ollama sends whole; ids are made up where they are missing."""

    __slots__ = ("_ids", "count")

    def __init__(self) -> None:
        self.count = 0
        self._ids: set[str] = set()

    def read(self, calls: Any, salt: Any) -> list[ToolCall]:
        """
        The calls in a message.

        Args:
            calls: its `tool_calls`.
            salt: what sets this answer apart from others of the conversation (`created_at`).
        """
        found = []
        for call in calls if isinstance(calls, list) else ():
            function = call.get("function") if isinstance(call, dict) else None
            if not isinstance(function, dict) or not isinstance(function.get("name"), str):
                continue
            name, arguments = function["name"], _arguments(function.get("arguments"))
            call_id = call.get("id")
            if not isinstance(call_id, str) or not call_id or call_id in self._ids:
                mark = crc32(f"{salt}\0{name}\0{arguments}".encode("utf-8", "surrogatepass"))
                call_id = f"call_{self.count}_{mark:08x}"
            self._ids.add(call_id)
            self.count += 1
            extra = {key: value for key, value in call.items() if key not in _CALL_FIELDS}
            found.append(ToolCall(call_id, name, arguments, extra or EMPTY))
        return found


def _arguments(value: Any) -> str:
    if isinstance(value, str):
        return value
    return "{}" if value is None else dumps(value).decode()


def chat_response(payload: dict[str, Any], upstream_id: str | None) -> ChatResponse | None:
    """The response in a whole document, None when it holds no message."""
    message = message_of(payload)
    if message is None:
        return None
    calls = ToolCalls().read(message.get("tool_calls"), payload.get("created_at"))
    normal, raw = finish_reason(payload.get("done_reason"), called=bool(calls))
    return ChatResponse(
        choices=(
            Choice(
                text=text_of(message, "content"),
                reasoning=text_of(message, "thinking"),
                tool_calls=tuple(calls),
                finish_reason=normal,
                raw_finish_reason=raw,
                logprobs=payload.get("logprobs"),
            ),
        ),
        model=text_of(payload, "model"),
        usage=usage_of(payload),
        extra=extra_of(payload),
        upstream_id=upstream_id,
    )


def embed_response(payload: dict[str, Any], inputs: int, upstream_id: str | None) -> EmbedResponse:
    """
    The vectors of a whole document.

    Args:
        payload: the document.
        inputs: how many texts were sent.
        upstream_id: the provider's id of the request.

    Raises:
        ValueError: it holds no vectors, or not one for each input; the message says what is wrong.
    """
    rows = payload.get("embeddings")
    if rows is None and "embedding" in payload:
        rows = [payload["embedding"]]
    if not isinstance(rows, list):
        raise ValueError("no list of vectors")  # noqa: TRY004  (the caller maps ValueError)
    if len(rows) != inputs:
        raise ValueError(f"{len(rows)} vectors for {inputs} inputs")
    try:
        vectors = tuple(tuple(map(float, row)) for row in rows)
    except (TypeError, ValueError, OverflowError):
        raise ValueError("an embedding that is no vector of numbers") from None
    if not all(vectors) or not all(isinstance(row, list) for row in rows):
        raise ValueError("an embedding that is no vector of numbers")
    return EmbedResponse(
        vectors=vectors,
        model=text_of(payload, "model"),
        usage=Usage(_count(payload.get("prompt_eval_count"))),
        upstream_id=upstream_id,
    )
