"""OpenAI's refusals: the wording, the codes, and the checks of a request that lead to them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from penstock_testkit.failure import Failure, Kind
from penstock_testkit.rate_limits import go_duration

if TYPE_CHECKING:
    from collections.abc import Mapping

    from penstock_testkit.received import ReceivedRequest


class _Form(NamedTuple):
    status: int
    type: str
    code: str | None
    message: str


_FORMS: Mapping[Kind, _Form] = {
    "authentication": _Form(
        401,
        "invalid_request_error",
        "invalid_api_key",
        "Incorrect API key provided. You can find your API key at "
        "https://platform.openai.com/account/api-keys.",
    ),
    "conflict": _Form(
        409,
        "invalid_request_error",
        "conflict",
        "The resource is being changed by another request. Try again.",
    ),
    "content_filter": _Form(
        400,
        "invalid_request_error",
        "content_policy_violation",
        "The prompt was rejected by the content policy.",
    ),
    "context_length": _Form(
        400,
        "invalid_request_error",
        "context_length_exceeded",
        "This model's maximum context length is 8192 tokens. However, your messages resulted in 9001 tokens. "
        "Please reduce the length of the messages.",
    ),
    "invalid_request": _Form(400, "invalid_request_error", None, "The request is not valid."),
    "method_not_allowed": _Form(
        405,
        "invalid_request_error",
        "method_not_supported",
        "Not allowed to {method} on {path}. (HINT: Perhaps you meant to use a different HTTP method?)",
    ),
    "model_not_found": _Form(
        404,
        "invalid_request_error",
        "model_not_found",
        "The model `{model}` does not exist or you do not have access to it.",
    ),
    "not_found": _Form(404, "invalid_request_error", None, "Invalid URL ({method} {path})"),
    "overloaded": _Form(
        503,
        "server_error",
        None,
        "The server is currently overloaded with other requests. "
        "Sorry about that! You can retry your request.",
    ),
    "oversized_request": _Form(
        429,
        "tokens",
        "rate_limit_exceeded",
        "Request too large for {model} in organization org-simulated on tokens per min (TPM): "
        "Limit 30000, Requested 45000. "
        "The input or output tokens must be reduced in order to run successfully.",
    ),
    "permission": _Form(
        403,
        "invalid_request_error",
        "unsupported_country_region_territory",
        "Country, region, or territory not supported",
    ),
    "quota": _Form(
        429,
        "insufficient_quota",
        "insufficient_quota",
        "You exceeded your current quota, please check your plan and billing details.",
    ),
    "rate_limit": _Form(
        429,
        "requests",
        "rate_limit_exceeded",
        "Rate limit reached for {model} in organization org-simulated on requests per min (RPM): "
        "Limit 3, Used 3, Requested 1.{wait}",
    ),
    "server_error": _Form(
        500,
        "server_error",
        None,
        "The server had an error while processing your request. Sorry about that!",
    ),
    "timeout": _Form(408, "invalid_request_error", "timeout", "Timed out reading the request body."),
}


def error_body(failure: Failure, request: ReceivedRequest) -> tuple[int, dict[str, Any]]:
    """The status and the body OpenAI sends for a failure."""
    form = _FORMS[failure.kind]
    message = failure.message
    if message is None:
        hint = failure.retry_after
        wait = "" if hint is None else f" Please try again in {go_duration(hint)}."
        message = form.message.format(
            model=request.model or "unknown", method=request.method, path=request.path, wait=wait
        )
    param = failure.param or ("model" if failure.kind == "model_not_found" else None)
    error = {"message": message, "type": form.type, "param": param, "code": failure.code or form.code}
    return failure.status or form.status, {"error": error}


def key_failure(request: ReceivedRequest, api_key: str) -> Failure | None:
    """What is wrong with the key; the message shows its ends, as OpenAI's does."""
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        key = request.headers.get("api-key", "")
    key = key.strip()
    if not key:
        return Failure(
            kind="authentication",
            message="You didn't provide an API key. You need to provide your API key in an Authorization "
            "header using Bearer auth (i.e. Authorization: Bearer YOUR_KEY).",
        )
    if key == api_key:
        return None
    shown = f"{key[:7]}{'*' * max(3, len(key) - 11)}{key[-4:]}" if len(key) > 14 else key
    return Failure(
        kind="authentication",
        message=f"Incorrect API key provided: {shown}. You can find your API key at "
        "https://platform.openai.com/account/api-keys.",
    )


def body_failure(fields: Any, required: str) -> Failure | None:
    """
    What is wrong with a body, by OpenAI's checks.

    Args:
        fields: the parsed body, None when it is no JSON.
        required: the field the endpoint needs beside `model`.
    """
    if not isinstance(fields, dict):
        return _invalid(
            "We could not parse the JSON body of your request. (HINT: This likely means you aren't using "
            "your HTTP library correctly. The OpenAI API expects a JSON payload, but what was sent was not "
            "valid JSON.)"
        )
    if not isinstance(fields.get("model"), str) or not fields["model"]:
        return _invalid("you must provide a model parameter")
    if fields.get(required) is None:
        return _invalid(f"Missing required parameter: '{required}'.", required, "missing_required_parameter")
    if required == "messages":
        return _messages_failure(fields["messages"]) or _range_failure(fields)
    if fields[required] in ("", []):
        return _invalid("'$.input' is invalid. Please check the API reference.", required)
    return None


def _messages_failure(messages: Any) -> Failure | None:
    if not isinstance(messages, list):
        return _invalid(
            f"Invalid type for 'messages': expected an array of objects, but got {_json_type(messages)} "
            "instead.",
            "messages",
            "invalid_type",
        )
    if not messages:
        return _invalid(
            "Invalid 'messages': empty array. Expected an array with minimum length 1, but got an empty "
            "array instead.",
            "messages",
            "empty_array",
        )
    for index, message in enumerate(messages):
        place = f"messages[{index}]"
        if not isinstance(message, dict):
            return _invalid(
                f"Invalid type for '{place}': expected an object, but got {_json_type(message)} instead.",
                place,
                "invalid_type",
            )
        if "role" not in message:
            return _invalid(
                f"Missing required parameter: '{place}.role'.", f"{place}.role", "missing_required_parameter"
            )
    return None


_RANGES: tuple[tuple[str, float, float], ...] = (
    ("temperature", 0, 2),
    ("top_p", 0, 1),
    ("presence_penalty", -2, 2),
    ("frequency_penalty", -2, 2),
    ("n", 1, 128),
    ("max_tokens", 1, float("inf")),
    ("max_completion_tokens", 1, float("inf")),
)


def _range_failure(fields: dict[str, Any]) -> Failure | None:
    for name, low, high in _RANGES:
        value = fields.get(name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float):
            return _invalid(
                f"Invalid type for '{name}': expected a number, but got {_json_type(value)} instead.",
                name,
                "invalid_type",
            )
        kind = "integer" if name.startswith(("n", "max_")) else "decimal"
        if value < low:
            return _invalid(
                f"Invalid '{name}': {kind} below minimum value. Expected a value >= {low:g}, but got "
                f"{value} instead.",
                name,
                f"{kind}_below_min_value",
            )
        if value > high:
            return _invalid(
                f"Invalid '{name}': {kind} above maximum value. Expected a value <= {high:g}, but got "
                f"{value} instead.",
                name,
                f"{kind}_above_max_value",
            )
    return None


def _invalid(message: str, param: str | None = None, code: str | None = None) -> Failure:
    return Failure(kind="invalid_request", message=message, param=param, code=code)


def _json_type(value: Any) -> str:
    names = {str: "a string", bool: "a boolean", int: "an integer", float: "a decimal", dict: "an object"}
    return names.get(type(value), "an array" if isinstance(value, list) else "null")
