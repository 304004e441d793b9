"""
Which class of error a fault is: the error table of the specification, for every server alike.

Rules
1. The body's code and type decide first, then well-known phrases of its message, then the status. A
   phrase only counts under a status it is known with.
2. Quota is not throttle: money that is spent does not come back by waiting. A body that says both
   (Gemini) is a throttle when it names a wait.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from penstock.errors import (
    AuthenticationError,
    ConflictError,
    ContentFilterError,
    ContextLengthError,
    InvalidRequestError,
    ModelLoadingError,
    ModelNotFoundError,
    OverloadedError,
    OversizedRequestError,
    PermissionDeniedError,
    ProviderError,
    QueueFullError,
    QuotaExceededError,
    RateLimitError,
    RequestTimeoutError,
    ServerError,
)

if TYPE_CHECKING:
    from penstock_wire.faults import Fault

# Codes and types, in lower case, that mean one thing whatever the status; of two, the earlier class decides.
_BY_WORD: tuple[tuple[type[ProviderError], frozenset[str]], ...] = (
    (
        QuotaExceededError,
        frozenset(
            {
                "insufficient_quota",
                "billing_hard_limit_reached",
                "billing_not_active",
                "insufficient_balance",
                "insufficient_funds",
                "insufficient_credits",
                "exceeded_current_quota_error",
                "credit_limit",
                "payment_required",
                "access_terminated",
                "arrearage",
            }
        ),
    ),
    (
        ContextLengthError,
        frozenset(
            {
                "context_length_exceeded",
                "context_window_exceeded",
                "too_many_prompt_tokens",
                "prompt_too_long",
                "exceed_context_size_error",
                "tokens_limit_reached",
                "request_too_large",
            }
        ),
    ),
    (
        ContentFilterError,
        frozenset(
            {
                "content_filter",
                "content_filtered",
                "content_policy_violation",
                "responsibleaipolicyviolation",
                "data_inspection_failed",
                "image_content_policy_violation",
                "invalid_prompt",
                "moderation_blocked",
            }
        ),
    ),
    (
        ModelNotFoundError,
        frozenset(
            {
                "model_not_found",
                "deploymentnotfound",
                "model_not_supported",
                "model_not_available",
                "invalid_model",
                "unknown_model",
                "model_decommissioned",
                "model_terminated",
            }
        ),
    ),
    (
        InvalidRequestError,
        frozenset(
            {"unsupported_parameter", "unsupported_value", "unknown_url", "previous_response_not_found"}
        ),
    ),
    (
        AuthenticationError,
        frozenset({"invalid_api_key", "authentication_error", "unauthenticated", "api_key_invalid"}),
    ),
    (PermissionDeniedError, frozenset({"permission_error", "permission_denied", "permissiondenied"})),
    (
        OverloadedError,
        frozenset(
            {
                "overloaded",
                "overloaded_error",
                "engine_overloaded_error",
                "server_is_overloaded",
                "slow_down",
                "service_unavailable_error",
                "capacity_exceeded",
            }
        ),
    ),
    (
        RateLimitError,
        frozenset(
            {
                "rate_limit_exceeded",
                "rate_limit_error",
                "rate_limit_reached_error",
                "ratelimitreached",
                "rate_limit_reached",
                "resource_exhausted",
                "too_many_requests",
                "throttling",
            }
        ),
    ),
)

# Phrases of messages, in lower case: the class, the statuses they are known with (None: in a 200), and
# the phrases. The first that fits decides.
_BY_PHRASE: tuple[tuple[type[ProviderError], frozenset[int | None], tuple[str, ...]], ...] = (
    (
        AuthenticationError,
        frozenset({400, 403, 422, None}),
        (
            "incorrect api key",
            "invalid api key",
            "api key not valid",
            "api key is invalid",
            "api key expired",
            "no api key",
            "token seems invalid",
            "invalid username or password",
            "invalid subscription key",
        ),
    ),
    (
        QuotaExceededError,
        frozenset({400, 402, 403, 429, None}),
        (
            "insufficient balance",
            "insufficient credit",
            "insufficient quota",
            "insufficient funds",
            "credit balance is too low",
            "used all available credits",
            "monthly spending limit",
            "requires more credits",
            "exceeded your current quota",
            "exceeded your monthly included credits",
            "out of credits",
        ),
    ),
    (
        ContextLengthError,
        frozenset({400, 413, 422, 500, None}),
        (
            "maximum context length",
            "max context length",
            "context length exceeded",
            "exceeds the context length",
            "exceeds the model's context",
            "exceed context limit",
            "context window",
            "available context size",
            "context the overflows",
            "maximum prompt length",
            "prompt is too long",
            "prompt too long",
            "input is too long",
            "total length of all messages is too long",
            "exceeds the maximum number of tokens",
            "reduce the length of the",
            "`inputs` tokens + `max_new_tokens` must be <=",
            "`inputs` must have less than",
        ),
    ),
    (
        ContentFilterError,
        frozenset({400, 403, 422, None}),
        (
            "content management policy",
            "content policy",
            "safety system",
            "inappropriate content",
            "flagged as potentially",
            "input was flagged",
            "prompt was flagged",
        ),
    ),
    (
        ModelNotFoundError,
        frozenset({400, 403, 404, 410, 422, None}),
        (
            "model not exist",
            "model not found",
            "model does not exist",
            "invalid model",
            "unknown model",
            "not a valid model",
            "not supported by any provider",
            "decommissioned",
            "try pulling it",
            "no endpoints found",
        ),
    ),
    # llama.cpp answers 500 to an image it has no projector for.
    (InvalidRequestError, frozenset({500, None}), ("image input is not supported",)),
    (QueueFullError, frozenset({429, 503, None}), ("maximum pending requests exceeded", "queue is full")),
    (QueueFullError, frozenset({429, None}), ("model is overloaded",)),
    (OverloadedError, frozenset({500, 502, 503, None}), ("overloaded",)),
)

BY_STATUS: dict[int, type[ProviderError]] = {
    401: AuthenticationError,
    402: QuotaExceededError,
    403: PermissionDeniedError,
    404: ModelNotFoundError,
    408: RequestTimeoutError,
    409: ConflictError,
    410: ModelNotFoundError,
    413: ContextLengthError,
    424: ServerError,  # TGI: the generation failed
    429: RateLimitError,
    498: OverloadedError,  # Groq: no capacity in the flex tier
    499: RequestTimeoutError,  # the server saw the request cancelled on the way
    501: InvalidRequestError,  # the server cannot do it, and will not later
    503: OverloadedError,
    529: OverloadedError,
}

# Types too vague to outweigh a status: they decide only for an error that has none.
_BY_VAGUE_WORD: dict[str, type[ProviderError]] = {
    "invalid_request_error": InvalidRequestError,
    "invalid_argument": InvalidRequestError,
    "badrequesterror": InvalidRequestError,
    "bad_request": InvalidRequestError,
    "validation": InvalidRequestError,
    "tool_use_failed": InvalidRequestError,
    "not_found": ModelNotFoundError,
    "not_found_error": ModelNotFoundError,
    "notfounderror": ModelNotFoundError,
    "unavailable": OverloadedError,
    "unavailable_error": OverloadedError,
    "service_unavailable": OverloadedError,
    "timeout": RequestTimeoutError,
    "timeout_error": RequestTimeoutError,
    "deadline_exceeded": RequestTimeoutError,
    "requests": RateLimitError,
    "tokens": RateLimitError,
}


def classify(fault: Fault, status: int | None, hint: float | None) -> type[ProviderError]:
    """
    The class of an error.

    Args:
        fault: what the body says.
        status: the HTTP status, or the one the body of a 200 claims, or None.
        hint: seconds to wait, where anything said so.
    """
    text = fault.message.lower()
    if _never_fits(text, status, fault.words):
        return OversizedRequestError
    for kind, words in _BY_WORD:
        if not words.isdisjoint(fault.words):
            if kind is OverloadedError and status == 429:
                return QueueFullError  # a 429 never counts for the breaker
            if kind is RateLimitError and status == 402:
                continue
            if kind is RateLimitError and hint is None and _spent(text):
                return QuotaExceededError
            return kind
    if fault.moderated and status in (400, 403, None):
        return ContentFilterError
    if status in (503, None) and (fault.loading or "currently loading" in text or text == "loading model"):
        return ModelLoadingError
    for kind, statuses, phrases in _BY_PHRASE:
        if status in statuses and any(phrase in text for phrase in phrases):
            if kind is QuotaExceededError and status == 429 and hint is not None:
                continue  # rule 2
            return kind
    if status in (400, 422, None) and _names_missing_model(text):
        return ModelNotFoundError
    if status is None:
        return _vague(fault.words)
    if status in BY_STATUS:
        return BY_STATUS[status]
    return ServerError if status >= 500 else InvalidRequestError


def _vague(words: frozenset[str]) -> type[ProviderError]:
    for word in sorted(words):
        if word in _BY_VAGUE_WORD:
            return _BY_VAGUE_WORD[word]
    return ServerError


def _spent(text: str) -> bool:
    """Whether a throttle's own words say that the money is gone."""
    return any(phrase in text for phrase in _BY_PHRASE[1][2])


def _never_fits(text: str, status: int | None, words: frozenset[str]) -> bool:
    """A throttle whose limit is smaller than this one request: `Limit 30000, ... Requested 40000`."""
    if status not in (413, 429, None) or not (
        "tokens per" in text or words & {"tokens", "rate_limit_exceeded"}
    ):
        return False
    if "request too large" in text:
        return True
    limit, requested = _number_after(text, "limit "), _number_after(text, "requested ")
    return limit is not None and requested is not None and requested > limit


def _number_after(text: str, word: str) -> int | None:
    _, found, rest = text.partition(word)
    digits = rest[:20].split(",")[0].split(".")[0].strip() if found else ""
    return int(digits) if digits.isascii() and digits.isdigit() else None


def _names_missing_model(text: str) -> bool:
    return text.startswith(("model ", "the model ", "error: model ")) and any(
        phrase in text[:300] for phrase in ("not found", "does not exist", "is not available")
    )
