"""
What Hugging Face's errors mean beyond the common table.

Rules
1. `estimated_time` of a model that is being loaded is a rough guess (577 s were seen for one that was there
   in a minute), so as a hint it is cut to a minute; a wait longer than that would end the retries.
2. TGI is overloaded when its own queue is full. It says so with a 429, which does not count for the
   breaker; in a stream the same error arrives inside a 200 and means the same.
"""

from __future__ import annotations

from penstock.errors import ModelLoadingError, OverloadedError, ProviderError, QueueFullError, RateLimitError

LONGEST_LOADING_HINT = 60.0
"""Seconds."""
_QUEUE_FULL = "Model is overloaded"


def refined(error: ProviderError) -> ProviderError:
    """The error by the rules above; most pass as they are."""
    kind = type(error)
    if kind is ModelLoadingError:
        if error.retry_after is not None:
            error.retry_after = min(error.retry_after, LONGEST_LOADING_HINT)
    elif kind in (OverloadedError, RateLimitError) and _QUEUE_FULL in str(error):
        return QueueFullError(
            str(error),
            status=error.status,
            code=error.code,
            retry_after=error.retry_after,
            upstream_id=error.upstream_id,
        )
    return error
