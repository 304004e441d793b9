"""The JSON document of an answer: what `--json` prints, with stable names."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from penstock import Answer, Attempt


def document(answer: Answer, redact: Callable[[str], str]) -> dict[str, Any]:
    """
    An answer as plain data; durations and delays in seconds, the cost in US dollars as text.

    Args:
        answer: what the client gave.
        redact: masks secrets in what providers said about failed attempts.
    """
    usage = answer.usage
    return {
        "text": answer.text,
        "reasoning": answer.reasoning,
        "refusal": answer.refusal,
        "tool_calls": [
            {"id": call.id, "name": call.name, "arguments": call.arguments} for call in answer.tool_calls
        ],
        "parsed": answer.parsed,
        "finish_reason": answer.finish_reason,
        "usage": {
            "input_tokens": usage.input_tokens,
            "output_tokens": usage.output_tokens,
            "cached_tokens": usage.cached_tokens,
            "reasoning_tokens": usage.reasoning_tokens,
            "total_tokens": usage.total_tokens,
        },
        # A decimal as text: a float would not be the amount that was computed.
        "cost": None if answer.cost is None else str(answer.cost),
        "target": str(answer.target),
        "model": answer.response.model,
        "request_id": answer.request_id,
        "upstream_id": answer.response.upstream_id,
        "cached": answer.cached,
        "age": answer.age,
        "attempts": [_attempt(attempt, redact) for attempt in answer.attempts],
    }


def _attempt(attempt: Attempt, redact: Callable[[str], str]) -> dict[str, Any]:
    error = attempt.error
    return {
        "number": attempt.number,
        "target": str(attempt.target),
        "delay": round(attempt.delay, 6),
        "duration": None if attempt.ended is None else round(attempt.ended - attempt.started, 6),
        "status": attempt.status,
        "error": None if error is None else {"type": type(error).__name__, "message": redact(str(error))},
    }
