"""
From a request to the JSON of TGI's `/generate` and `/generate_stream`.

Rules
1. TGI samples only when told to: a temperature above 0 sets `do_sample`, 0 is greedy and is not sent (TGI
   refuses it). `top_p` of 1 is no restriction and is not sent either.
2. What the API cannot express and would change the answer (tools, `n` above 1, `logit_bias`,
   `presence_penalty`, `reasoning_effort`) is refused here; what changes nothing is sent along.
3. `details` is always asked for: without it there is no finish reason and no usage.
4. `extra` comes last and may override: names of generation parameters go into `parameters`, where
   `extra["parameters"]` goes too; every other name is a top-level field.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from penstock.errors import InvalidRequestError
from penstock.messages import ChatRequest

PARAMETERS = frozenset(
    {
        "adapter_id",
        "best_of",
        "decoder_input_details",
        "details",
        "do_sample",
        "frequency_penalty",
        "grammar",
        "max_new_tokens",
        "repetition_penalty",
        "return_full_text",
        "seed",
        "stop",
        "temperature",
        "top_k",
        "top_n_tokens",
        "top_p",
        "truncate",
        "typical_p",
        "watermark",
    }
)
"""Names that TGI reads inside `parameters` only."""


def generate_payload(request: ChatRequest, model: str, prompt: str) -> dict[str, Any]:
    """
    The body of a generation; TGI itself does not look at the model, what stands before it may.

    Raises:
        InvalidRequestError: the API cannot express it; names the parameter.
    """
    _refuse(request)
    parameters: dict[str, Any] = {"details": True, "return_full_text": False}
    if request.max_tokens is not None:
        parameters["max_new_tokens"] = request.max_tokens
    if request.temperature is not None:
        parameters["do_sample"] = request.temperature > 0
        if request.temperature > 0:
            parameters["temperature"] = request.temperature
    if request.top_p is not None and request.top_p < 1:
        parameters["top_p"] = request.top_p
    for name in ("seed", "frequency_penalty"):
        value = getattr(request, name)
        if value is not None:
            parameters[name] = value
    if request.stop is not None:
        parameters["stop"] = [request.stop] if isinstance(request.stop, str) else list(request.stop)
    if request.top_logprobs is not None:
        parameters["top_n_tokens"] = request.top_logprobs
    grammar = _grammar(request)
    if grammar is not None:
        parameters["grammar"] = grammar
    payload: dict[str, Any] = {"model": model, "inputs": prompt, "parameters": parameters}
    if request.stream:
        payload["stream"] = True
    for name in ("user", "metadata"):
        value = getattr(request, name)
        if value is not None:
            payload[name] = value
    for name, value in request.extra.items():
        if name in PARAMETERS:
            parameters[name] = value
        elif name != "parameters":
            payload[name] = value
    nested = request.extra.get("parameters")
    if isinstance(nested, Mapping):
        parameters.update(nested)
    elif nested is not None:
        raise InvalidRequestError("extra['parameters'] must be a mapping of parameter names", param="extra")
    return payload


def _refuse(request: ChatRequest) -> None:
    if request.tools and request.tool_choice != "none":
        raise InvalidRequestError("generate knows no tools; use api = 'chat'", param="tools")
    if request.n is not None and request.n != 1:
        raise InvalidRequestError("generate gives one answer to a request; leave n out", param="n")
    for name in ("logit_bias", "presence_penalty", "reasoning_effort"):
        if getattr(request, name):
            raise InvalidRequestError(f"generate has no {name}; leave it out", param=name)


def _grammar(request: ChatRequest) -> dict[str, Any] | None:
    if request.schema is not None:
        return {"type": "json", "value": request.schema.json_schema}
    wanted = request.response_format
    if wanted is None:
        return None
    kind = wanted.get("type")
    if kind == "text":
        return None
    if kind == "json_object":
        return {"type": "json", "value": {"type": "object"}}
    described = wanted.get("json_schema")
    if (
        kind == "json_schema"
        and isinstance(described, Mapping)
        and isinstance(described.get("schema"), Mapping)
    ):
        return {"type": "json", "value": described["schema"]}
    raise InvalidRequestError(
        "response_format must be of type text, json_object, or json_schema with a schema",
        param="response_format",
    )
