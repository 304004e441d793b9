"""Ollama's refusals: the wording, and the checks of a request that lead to them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from penstock_testkit.failure import Failure, Kind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from penstock_testkit.received import ReceivedRequest


class _Form(NamedTuple):
    status: int
    message: str


_FORMS: Mapping[Kind, _Form] = {
    "authentication": _Form(401, "unauthorized"),
    "conflict": _Form(409, "the model is being changed by another request"),
    "content_filter": _Form(400, "the prompt was flagged by the content policy of the model's host"),
    "context_length": _Form(400, "the input length exceeds the context length"),
    "invalid_request": _Form(400, "invalid request"),
    "method_not_allowed": _Form(405, "405 method not allowed"),
    "model_not_found": _Form(404, 'model "{model}" not found, try pulling it first'),
    "not_found": _Form(404, "404 page not found"),
    "overloaded": _Form(503, "server busy, please try again.  maximum pending requests exceeded"),
    "oversized_request": _Form(
        429, "request too large: the limit is 30000 tokens per minute, the request has 45000"
    ),
    "permission": _Form(403, "forbidden"),
    "quota": _Form(
        429,
        "you (simulated) have reached your session usage limit, upgrade for higher limits: "
        "https://ollama.com/upgrade",
    ),
    "rate_limit": _Form(429, "too many requests"),
    "server_error": _Form(
        500,
        "model runner has unexpectedly stopped, this may be due to resource limitations or an internal "
        "error, check ollama server logs for details",
    ),
    "timeout": _Form(408, "timed out waiting for the request"),
}
_PLAIN_TEXT: frozenset[Kind] = frozenset({"method_not_allowed", "not_found"})
"""What the router says instead of a handler, as plain text."""


def refusal(failure: Failure, request: ReceivedRequest) -> tuple[int, dict[str, Any] | str]:
    """The status and the body Ollama sends for a failure: an object, or plain text."""
    form = _FORMS[failure.kind]
    status = failure.status or form.status
    message = failure.message
    if message is None:
        message = form.message.format(model=request.model or "unknown")
        if failure.kind in _PLAIN_TEXT:
            return status, message
    body: dict[str, Any] = {"error": message}
    if failure.kind == "authentication":
        body["signin_url"] = "https://ollama.com/connect?name=simulated&key=c2ltdWxhdGVk"
    return status, body


def key_failure(request: ReceivedRequest, api_key: str) -> Failure | None:
    """What is wrong with the key, as ollama.com checks it."""
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and key.strip() == api_key:
        return None
    return Failure(kind="authentication")


def body_failure(fields: Any, path: str, capabilities: frozenset[str]) -> Failure | None:
    """
    What is wrong with a body, by Ollama's checks.

    Args:
        fields: the parsed body, None when it is no JSON.
        path: of the endpoint.
        capabilities: Ollama's words for what the model can do.
    """
    if fields is None:
        return _invalid("missing request body")
    if not isinstance(fields, dict):
        return _invalid("json: cannot unmarshal the body into Go value of type api.ChatRequest")
    model = fields.get("model") or fields.get("name")
    if not isinstance(model, str) or not model:
        return _invalid("model is required")
    if path == "/api/embed" and not isinstance(fields.get("input", ""), str | list):
        return _invalid("invalid input type")
    if path in ("/api/chat", "/api/generate"):
        return _chat_failure(fields, model, capabilities)
    return None


def _chat_failure(fields: dict[str, Any], model: str, capabilities: frozenset[str]) -> Failure | None:
    think = fields.get("think")
    if isinstance(think, str) and think not in ("high", "medium", "low", "max"):
        return _invalid(
            f'invalid think value: "{think}" (must be "high", "medium", "low", "max", true, or false)'
        )
    if fields.get("tools") and "tools" not in capabilities:
        return _invalid(f"registry.ollama.ai/library/{model} does not support tools")
    if think and "thinking" not in capabilities:
        return _invalid(f'"{model}" does not support thinking')
    options = fields.get("options")
    if options is not None and not isinstance(options, dict):
        return _invalid("json: cannot unmarshal options into Go struct field ChatRequest.options")
    for message in fields.get("messages") or ():
        if not isinstance(message, dict) or not isinstance(message.get("content", ""), str):
            return _invalid(
                "json: cannot unmarshal array into Go struct field Message.content of type string"
            )
        for call in message.get("tool_calls") or ():
            if not isinstance((call.get("function") or {}).get("arguments", {}), dict):
                return _invalid(
                    "json: cannot unmarshal string into Go struct field "
                    "ChatRequest.messages.tool_calls.function.arguments of type api.ToolCallFunctionArguments"
                )
    return None


def _invalid(message: str) -> Failure:
    return Failure(kind="invalid_request", message=message)
