"""
Hugging Face's refusals: the router's, of several hands and shapes, and TGI's `{error, error_type}`.

A body is an object, or a text where the servers answer with plain text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from penstock_testkit.failure import Failure, Kind
from penstock_testkit.openai_chat import word_count

if TYPE_CHECKING:
    from collections.abc import Mapping

    from penstock_testkit.received import ReceivedRequest

Body: TypeAlias = "dict[str, Any] | str"

_ROUTER: Mapping[Kind, tuple[int, str]] = {
    "authentication": (401, "Invalid username or password."),
    "conflict": (409, "The model is being changed. Try again."),
    "content_filter": (400, "The prompt was rejected by the content policy."),
    "context_length": (
        400,
        "This model's maximum context length is 8192 tokens. Please reduce the length of the messages.",
    ),
    "invalid_request": (400, "The request is not valid."),
    "method_not_allowed": (405, "Method Not Allowed"),
    "model_not_found": (
        400,
        "The requested model '{model}' is not supported by any provider you have enabled.",
    ),
    "not_found": (404, "Not Found"),
    "overloaded": (503, "Service Unavailable"),
    "oversized_request": (413, "Payload Too Large"),
    "permission": (
        403,
        (
            "This authentication method does not have sufficient permissions to call Inference Providers "
            "on behalf of user simulated"
        ),
    ),
    "quota": (
        402,
        (
            "You have exceeded your monthly included credits for Inference Providers. "
            "Subscribe to PRO to get 20x more monthly included credits."
        ),
    ),
    "rate_limit": (429, "Too Many Requests: you have reached your rate limit."),
    "server_error": (500, "Internal Server Error"),
    "timeout": (408, "Request Timeout"),
}

_TGI: Mapping[Kind, tuple[int, str, str]] = {
    "authentication": (401, "", ""),
    "conflict": (409, "Conflict", "conflict"),
    "content_filter": (422, "Input validation error: content policy", "validation"),
    "context_length": (
        422,
        (
            "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. "
            "Given: 4000 `inputs` tokens and 200 `max_new_tokens`"
        ),
        "validation",
    ),
    "invalid_request": (422, "Input validation error: the request is not valid", "validation"),
    "method_not_allowed": (405, "", ""),
    "model_not_found": (404, "model not found", "not_found"),
    "not_found": (404, "", ""),
    "overloaded": (429, "Model is overloaded", "overloaded"),
    "oversized_request": (413, "length limit exceeded", ""),
    "permission": (403, "Forbidden", "forbidden"),
    "quota": (402, "Payment required", "payment"),
    "rate_limit": (429, "Model is overloaded", "overloaded"),
    "server_error": (500, "Incomplete generation", "incomplete_generation"),
    "timeout": (408, "Request timeout", "timeout"),
}


def router_refusal(failure: Failure, request: ReceivedRequest) -> tuple[int, Body]:
    """The status and the body the router sends for a failure."""
    status, message = _ROUTER[failure.kind]
    message = failure.message or message.format(model=request.model or "unknown")
    if failure.kind == "model_not_found":
        error = {
            "message": message,
            "type": "invalid_request_error",
            "param": "model",
            "code": failure.code or "model_not_supported",
        }
        return failure.status or status, {"error": error}
    if failure.kind in ("not_found", "method_not_allowed"):
        return failure.status or status, message
    return failure.status or status, {"error": message}


def tgi_refusal(failure: Failure) -> tuple[int, Body]:
    """The status and the body TGI sends for a failure."""
    status, message, kind = _TGI[failure.kind]
    if failure.kind == "server_error" and failure.status == 424:
        message, kind = "Request failed during generation: simulated", "generation"
    message = failure.message or message
    if not kind:
        return failure.status or status, message
    return failure.status or status, {"error": message, "error_type": failure.code or kind}


def missing_field(name: str, body: bytes) -> str:
    """The text both servers answer with, as 422, when a body lacks a field."""
    return (
        f"Failed to deserialize the JSON body into the target type: missing field `{name}` "
        f"at line 1 column {len(body)}"
    )


def invalid_generation(fields: dict[str, Any], window: int) -> Failure | None:
    """
    What TGI's own validation says of a body of `/generate`.

    Args:
        fields: the parsed body, with `inputs`.
        window: tokens of prompt and answer together; tokens are words.
    """
    parameters = fields.get("parameters") or {}
    message = None
    temperature, top_p = parameters.get("temperature"), parameters.get("top_p")
    prompt, wanted = fields["inputs"], parameters.get("max_new_tokens") or 0
    if not isinstance(prompt, str) or not prompt:
        message = "`inputs` cannot be empty"
    elif temperature is not None and temperature <= 0:
        message = "`temperature` must be strictly positive"
    elif top_p is not None and not 0 < top_p < 1:
        message = "`top_p` must be > 0.0 and < 1.0"
    elif len(parameters.get("stop") or ()) > 4:
        message = "`stop` supports up to 4 stop sequences"
    elif word_count(prompt) + wanted > window:
        message = (
            f"`inputs` tokens + `max_new_tokens` must be <= {window}. "
            f"Given: {word_count(prompt)} `inputs` tokens and {wanted} `max_new_tokens`"
        )
    if message is None:
        return None
    return Failure(kind="invalid_request", message=f"Input validation error: {message}")
