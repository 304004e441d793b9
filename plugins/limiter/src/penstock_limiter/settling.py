"""
What an attempt cost in the end, read from how it ended.

Rules
1. Never sent (no attempt begun, or no connection): the request and the tokens are given back.
2. Refused by the server with a 4xx: the request counts, the tokens do not.
3. Answered: the tokens that the usage says; what it does not say stays as reserved.
4. Cut or closed while streaming: usage if it had come, else the estimated input and the output seen.
5. Anything else after the request was sent: the reservation stays, the server may be at work on it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from penstock.errors import (
    AttemptTimeout,
    ConnectError,
    InvalidRequestError,
    OverloadedError,
    QueueFullError,
    RateLimitError,
    RequestTimeoutError,
)
from penstock.tokens import estimate_output
from penstock_limiter.limit import Settlement

if TYPE_CHECKING:
    from penstock.call import Attempt, Outcome

SUCCESS = Settlement("success")
UNSENT = Settlement("ignored", tokens=0.0, request=False)
_THROTTLED = (RateLimitError, OverloadedError, QueueFullError, AttemptTimeout, RequestTimeoutError)


def after_error(attempt: Attempt | None, error: BaseException, estimated_input: float) -> Settlement:
    """
    The settlement of an attempt that ended without a reply.

    Args:
        attempt: the attempt, None when none was begun.
        error: what was raised.
        estimated_input: tokens of the request.
    """
    if attempt is None or (attempt.head is None and _is_unsent(error)):
        return UNSENT
    if not isinstance(error, Exception):
        return Settlement("cancelled", tokens=estimated_input)
    kind = "throttled" if isinstance(error, _THROTTLED) else "failure"
    status = getattr(error, "status", None)
    if status is not None and 400 <= status < 500:
        return Settlement(kind, tokens=0.0)  # type: ignore[arg-type]  # one of two words
    return Settlement(kind)  # type: ignore[arg-type]  # one of two words


def after_outcome(outcome: Outcome, estimated_input: float, reserved_output: float) -> Settlement:
    """
    The settlement of a reply.

    Args:
        outcome: how it finished.
        estimated_input: tokens of the request.
        reserved_output: tokens reserved for the answer.
    """
    response = outcome.response
    usage = response.usage if response is not None else None
    kind = "success" if outcome.kind == "ok" else "cancelled" if outcome.kind == "abandoned" else "failure"
    if usage is not None:
        sent, made = usage.input_tokens, usage.output_tokens
        tokens = (estimated_input if sent is None else sent) + (reserved_output if made is None else made)
        return Settlement(kind, tokens=tokens)  # type: ignore[arg-type]  # one of three words
    if outcome.kind == "ok":
        return SUCCESS
    return Settlement(kind, tokens=estimated_input + estimate_output(response))  # type: ignore[arg-type]  # as above


def _is_unsent(error: BaseException) -> bool:
    if isinstance(error, AttemptTimeout):
        return error.phase in ("connect", "pool")
    return isinstance(error, ConnectError) or (
        isinstance(error, InvalidRequestError) and error.status is None
    )
