"""
From a request to the JSON of `/api/chat` and `/api/embed`.

Rules
1. The server ignores what it does not know without a word. So a parameter that would change the answer
   and that Ollama cannot express (`n` above 1, `logit_bias`, a forced `tool_choice`, no parallel tool
   calls) is refused here; those that change nothing (`user`, `metadata`) are sent along.
2. `extra` comes last and may override: names of sampling and runner options, such as `top_k` or
   `num_ctx`, go into `options`, where `extra["options"]` goes too; every other name is a top-level field.
3. With the preflight on, the server is told to refuse an overflow (`truncate: false`, since 0.12)
   instead of cutting it; older servers ignore that, which is why there is a preflight.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from penstock.errors import InvalidRequestError
from penstock.frozen import dataclass
from penstock.messages import ChatRequest, EmbedRequest, RawPart
from penstock_ollama.messages import encode_messages, encode_tool

OPTIONS = frozenset(
    {
        "draft_num_predict",
        "frequency_penalty",
        "main_gpu",
        "min_p",
        "mirostat",
        "mirostat_eta",
        "mirostat_tau",
        "num_batch",
        "num_ctx",
        "num_gpu",
        "num_keep",
        "num_predict",
        "num_thread",
        "penalize_newline",
        "presence_penalty",
        "repeat_last_n",
        "repeat_penalty",
        "seed",
        "stop",
        "temperature",
        "tfs_z",
        "top_k",
        "top_p",
        "typical_p",
        "use_mlock",
        "use_mmap",
    }
)
"""Names that Ollama reads inside `options` only."""

_SAMPLING = (
    ("max_tokens", "num_predict"),
    ("temperature", "temperature"),
    ("top_p", "top_p"),
    ("seed", "seed"),
    ("presence_penalty", "presence_penalty"),
    ("frequency_penalty", "frequency_penalty"),
)
_ALONG = ("logprobs", "top_logprobs", "user", "metadata")
# OpenAI's levels that Ollama lacks, by the nearest it has.
_THINK: dict[str, bool | str] = {"none": False, "minimal": "low", "xhigh": "max"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Defaults:
    """
    What every request says unless it says otherwise itself.

    Args:
        keep_alive: how long the server keeps the model loaded.
        num_ctx: the window in tokens.
        think: whether, or at which level, the model reasons.
        refuse_overflow: ask the server to refuse what does not fit.
    """

    keep_alive: int | str | None = None
    num_ctx: int | None = None
    think: bool | str | None = None
    refuse_overflow: bool = False


def chat_payload(request: ChatRequest, model: str, defaults: Defaults) -> dict[str, Any]:
    """
    The body of a chat.

    Raises:
        InvalidRequestError: Ollama cannot express it; names the parameter.
    """
    _refuse(request)
    payload: dict[str, Any] = {
        "model": model,
        "messages": encode_messages(request.messages),
        "stream": request.stream,
    }
    options: dict[str, Any] = {}
    if defaults.num_ctx is not None:
        options["num_ctx"] = defaults.num_ctx
    for name, own in _SAMPLING:
        value = getattr(request, name)
        if value is not None:
            options[own] = value
    if request.stop is not None:
        options["stop"] = [request.stop] if isinstance(request.stop, str) else list(request.stop)
    for name in _ALONG:
        value = getattr(request, name)
        if value is not None:
            payload[name] = value
    if request.tools and request.tool_choice != "none":
        payload["tools"] = [encode_tool(tool) for tool in request.tools]
    answer_format = _format(request)
    if answer_format is not None:
        payload["format"] = answer_format
    think = defaults.think
    if request.reasoning_effort is not None:
        think = _THINK.get(request.reasoning_effort, request.reasoning_effort)
    if think is not None:
        payload["think"] = think
    _complete(payload, options, defaults, request.extra)
    return payload


def embed_payload(request: EmbedRequest, model: str, defaults: Defaults) -> dict[str, Any]:
    """The body of an embedding request."""
    payload: dict[str, Any] = {"model": model, "input": request.inputs}
    if request.dimensions is not None:
        payload["dimensions"] = request.dimensions
    if request.user is not None:
        payload["user"] = request.user
    _complete(payload, {}, defaults, request.extra)
    return payload


def option(request: ChatRequest | EmbedRequest, name: str) -> Any:
    """What a request's `extra` says about an option, None when nothing."""
    extra = request.extra
    if not extra:
        return None
    nested = extra.get("options")
    if isinstance(nested, Mapping) and name in nested:
        return nested[name]
    return extra.get(name)


def _complete(
    payload: dict[str, Any], options: dict[str, Any], defaults: Defaults, extra: Mapping[str, Any]
) -> None:
    if defaults.keep_alive is not None:
        payload["keep_alive"] = defaults.keep_alive
    if defaults.refuse_overflow:
        payload["truncate"] = False
    for name, value in extra.items():
        if name in OPTIONS:
            options[name] = value
        elif name != "options":
            payload[name] = value
    nested = extra.get("options")
    if isinstance(nested, Mapping):
        options.update(nested)
    elif nested is not None:
        raise InvalidRequestError("extra['options'] must be a mapping of option names", param="extra")
    if options:
        payload["options"] = options


def _refuse(request: ChatRequest) -> None:
    if request.n is not None and request.n != 1:
        raise InvalidRequestError("Ollama gives one answer to a request; leave n out", param="n")
    if request.logit_bias:
        raise InvalidRequestError("Ollama has no logit_bias; leave it out", param="logit_bias")
    if request.tool_choice not in (None, "auto", "none"):
        raise InvalidRequestError(
            "Ollama cannot be made to call a tool; tool_choice may be 'auto' or 'none'", param="tool_choice"
        )
    if request.parallel_tool_calls is False and request.tools:
        raise InvalidRequestError(
            "Ollama cannot be kept from parallel tool calls; leave parallel_tool_calls out",
            param="parallel_tool_calls",
        )
    if any(isinstance(tool, RawPart) and tool.payload.get("type") != "function" for tool in request.tools):
        raise InvalidRequestError("Ollama's tools are functions only", param="tools")


def _format(request: ChatRequest) -> Any:
    if request.schema is not None:
        return request.schema.json_schema
    wanted = request.response_format
    if wanted is None:
        return None
    kind = wanted.get("type")
    if kind == "text":
        return None
    if kind == "json_object":
        return "json"
    described = wanted.get("json_schema")
    if (
        kind == "json_schema"
        and isinstance(described, Mapping)
        and isinstance(described.get("schema"), Mapping)
    ):
        return described["schema"]
    raise InvalidRequestError(
        "response_format must be of type text, json_object, or json_schema with a schema",
        param="response_format",
    )
