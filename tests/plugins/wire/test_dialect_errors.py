from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock import errors
from penstock.http import HttpHead, HttpResponse
from penstock.redaction import Redactor
from penstock_wire.openai import OpenAIDialect

KEY = "my-very-own-credential-0123456789"
DIALECT = OpenAIDialect(base_url="https://api.example.com/v1", redact=Redactor((KEY,)))
NOW = 1_790_000_000.0


def error(status: int, body: Any = b"", **headers: str) -> errors.ProviderError:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return DIALECT.error(HttpResponse(status, named, NOW, raw))


def openai(message: str, code: Any = None, type: str | None = None, **more: Any) -> dict[str, Any]:
    return {"error": {"message": message, "type": type, "param": None, "code": code, **more}}


TABLE: list[tuple[int, Any, type[errors.ProviderError]]] = [
    # OpenAI and Azure
    (400, openai("bad", "invalid_value", "invalid_request_error"), errors.InvalidRequestError),
    (400, openai("m", "context_length_exceeded"), errors.ContextLengthError),
    (
        400,
        openai("m", "content_filter", innererror={"code": "ResponsibleAIPolicyViolation"}),
        errors.ContentFilterError,
    ),
    (400, openai("m", "unsupported_value", "invalid_request_error"), errors.InvalidRequestError),
    (401, openai("no", "invalid_api_key"), errors.AuthenticationError),
    (401, openai("no", None, "invalid_request_error"), errors.AuthenticationError),
    (403, openai("region", "unsupported_country_region_territory"), errors.PermissionDeniedError),
    (404, openai("m", "model_not_found"), errors.ModelNotFoundError),
    (404, openai("m", "DeploymentNotFound"), errors.ModelNotFoundError),
    (404, openai("Unknown request URL", "unknown_url"), errors.InvalidRequestError),
    (408, b"", errors.RequestTimeoutError),
    (409, b"", errors.ConflictError),
    (413, b"", errors.ContextLengthError),
    (429, openai("slow down", "rate_limit_exceeded", "tokens"), errors.RateLimitError),
    (429, openai("m", "insufficient_quota", "insufficient_quota"), errors.QuotaExceededError),
    (
        429,
        openai(
            "Request too large on tokens per min (TPM): Limit 10, Requested 20",
            "rate_limit_exceeded",
            "tokens",
        ),
        errors.OversizedRequestError,
    ),
    (
        429,
        openai("on tokens per min (TPM): Limit 10, Used 0, Requested 20.", "rate_limit_exceeded", "tokens"),
        errors.OversizedRequestError,
    ),
    (
        429,
        openai("on tokens per min (TPM): Limit 30, Used 25, Requested 20.", "rate_limit_exceeded", "tokens"),
        errors.RateLimitError,
    ),
    (429, b"", errors.RateLimitError),
    (500, openai("m", None, "server_error"), errors.ServerError),
    (502, b"<html><head><title>Bad gateway</title></head></html>", errors.ServerError),
    (503, openai("overloaded"), errors.OverloadedError),
    (504, b"upstream timed out", errors.ServerError),
    (520, b"", errors.ServerError),
    (529, {"type": "error", "error": {"type": "overloaded_error", "message": "m"}}, errors.OverloadedError),
    (418, b"", errors.InvalidRequestError),
    (307, b"", errors.InvalidRequestError),
    # Hugging Face and TGI
    (
        400,
        {"error": "Authorization header is correct, but the token seems invalid"},
        errors.AuthenticationError,
    ),
    (400, openai("m", "model_not_supported"), errors.ModelNotFoundError),
    (402, {"error": "You have exceeded your monthly included credits"}, errors.QuotaExceededError),
    (404, b"Not Found", errors.ModelNotFoundError),
    (
        422,
        {
            "error": "Input validation error: `inputs` must have less than 1024 tokens. Given: 2000",
            "error_type": "validation",
        },
        errors.ContextLengthError,
    ),
    (422, {"error": "top_p", "error_type": "validation"}, errors.InvalidRequestError),
    (424, {"error": "Request failed during generation", "error_type": "generation"}, errors.ServerError),
    (429, {"error": "Model is overloaded", "error_type": "overloaded"}, errors.QueueFullError),
    (429, {"message": "Model is overloaded", "http_status_code": 429}, errors.QueueFullError),
    (500, {"error": "Incomplete generation", "error_type": "incomplete_generation"}, errors.ServerError),
    (503, {"error": "Model x is currently loading", "estimated_time": 20.0}, errors.ModelLoadingError),
    # Ollama and llama.cpp
    (404, {"error": 'model "x" not found, try pulling it first'}, errors.ModelNotFoundError),
    (400, {"error": '"x" does not support tools'}, errors.InvalidRequestError),
    (400, {"error": "the input length exceeds the context length"}, errors.ContextLengthError),
    (
        503,
        {"error": "server busy, please try again.  maximum pending requests exceeded"},
        errors.QueueFullError,
    ),
    (
        503,
        {"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}},
        errors.ModelLoadingError,
    ),
    (
        400,
        {"error": {"code": 400, "message": "m", "type": "exceed_context_size_error"}},
        errors.ContextLengthError,
    ),
    (
        500,
        {"error": {"code": 500, "message": "image input is not supported", "type": "server_error"}},
        errors.InvalidRequestError,
    ),
    (501, openai("embeddings are disabled", "not_supported_error"), errors.InvalidRequestError),
    # others
    (
        400,
        {"code": "Client specified an invalid argument", "error": "Incorrect API key provided: x"},
        errors.AuthenticationError,
    ),
    (
        403,
        {"error": {"code": 403, "message": "Your input was flagged", "metadata": {"reasons": ["violence"]}}},
        errors.ContentFilterError,
    ),
    (
        400,
        [{"error": {"code": 400, "message": "API key not valid.", "status": "INVALID_ARGUMENT"}}],
        errors.AuthenticationError,
    ),
    (
        429,
        [
            {
                "error": {
                    "code": 429,
                    "message": "You exceeded your current quota. Please retry in 34.5s.",
                    "status": "RESOURCE_EXHAUSTED",
                }
            }
        ],
        errors.RateLimitError,
    ),
    (
        429,
        [
            {
                "error": {
                    "code": 429,
                    "message": "You exceeded your current quota.",
                    "status": "RESOURCE_EXHAUSTED",
                }
            }
        ],
        errors.QuotaExceededError,
    ),
    (
        400,
        {
            "object": "error",
            "message": "This model's maximum context length is 10 tokens.",
            "type": "BadRequestError",
            "code": 400,
        },
        errors.ContextLengthError,
    ),
    (
        400,
        {"message": "Invalid model: x", "type": "invalid_model", "code": "1500"},
        errors.ModelNotFoundError,
    ),
    (422, {"detail": [{"loc": ["body", "messages"], "msg": "Field required"}]}, errors.InvalidRequestError),
    (401, {"detail": "Invalid API Key"}, errors.AuthenticationError),
    (498, b"", errors.OverloadedError),
]


@pytest.mark.parametrize(("status", "body", "kind"), TABLE)
def test_the_error_table(status: int, body: Any, kind: type[errors.ProviderError]) -> None:
    found = error(status, body)
    assert type(found) is kind
    assert found.status == status


@pytest.mark.parametrize(
    ("status", "body", "headers", "seconds"),
    [
        (429, b"", {"retry_after": "7"}, 7.0),
        (503, b"", {"retry_after_ms": "250", "retry_after": "9"}, 0.25),
        (429, b"", {"x_ratelimit_remaining_tokens": "0", "x_ratelimit_reset_tokens": "6s"}, 6.0),
        (429, b"", {"x_ratelimit_remaining_tokens": "5", "x_ratelimit_reset_tokens": "6s"}, None),
        (500, b"", {"x_ratelimit_remaining_tokens": "0", "x_ratelimit_reset_tokens": "6s"}, None),
        (429, openai("Please try again in 18.642s. Visit us."), {}, 18.642),
        (429, openai("Please try again in 174ms."), {}, 0.174),
        (429, openai("Please retry after 26 seconds."), {}, 26.0),
        (429, openai("Please try again in 2 minutes."), {}, 120.0),
        (429, openai("Please try again in a while."), {}, None),
        (503, {"error": "x is currently loading", "estimated_time": 577.5}, {}, 577.5),
        (
            429,
            {"error": {"message": "m", "details": [{"@type": "RetryInfo", "retryDelay": "34s"}]}},
            {},
            34.0,
        ),
        (
            429,
            openai(
                "m",
                metadata={
                    "headers": {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(int(NOW + 3) * 1000)}
                },
            ),
            {},
            3.0,
        ),
    ],
)
def test_the_wait_a_server_asks_for(
    status: int, body: Any, headers: dict[str, str], seconds: float | None
) -> None:
    assert error(status, body, **headers).retry_after == (None if seconds is None else pytest.approx(seconds))


@pytest.mark.parametrize(
    ("status", "body", "header", "retryable"),
    [
        (400, b"", "true", True),
        (503, b"", "false", False),
        (503, b"", "maybe", True),
        (401, b"", "true", False),
        (429, openai("m", "insufficient_quota"), "true", False),
    ],
)
def test_x_should_retry_overrides_the_status_but_not_credentials_and_quota(
    status: int, body: Any, header: str, retryable: bool
) -> None:
    assert error(status, body, x_should_retry=header).retryable is retryable


def test_an_error_names_who_what_and_where() -> None:
    found = error(400, openai("Bad\n  top_p \x1b[31m", "invalid_value", param="top_p"), x_request_id="req_1")
    assert str(found) == "openai answered 400 [invalid_value]: Bad top_p \N{REPLACEMENT CHARACTER}[31m"
    assert (found.code, found.upstream_id) == ("invalid_value", "req_1")


def test_the_parameter_at_fault_is_kept() -> None:
    found = error(400, {"error": {"message": "m", "param": "temperature", "code": 400}})
    assert isinstance(found, errors.InvalidRequestError)
    assert found.param == "temperature"
    assert found.code == "400"


def test_secrets_in_a_body_are_masked_wherever_the_excerpt_ends() -> None:
    for offset in range(150, 240):
        text = "x" * offset + " " + KEY + " and sk-abcdefgh12345678"
        for body in (openai(text), openai("m", code=text[offset - 90 :]), text.encode()):
            shown = str(error(400, body)) + str(error(400, body).code)
            assert KEY[:12] not in shown
            assert "abcdefgh" not in shown
    assert len(str(error(400, b"y" * 100_000))) < 260


def test_a_validation_report_does_not_echo_the_input() -> None:
    found = error(422, {"detail": [{"loc": ["body", "n"], "msg": "too big", "input": "the prompt"}]})
    assert "body.n: too big" in str(found)
    assert "the prompt" not in str(found)


FIELDS = [
    *("error", "message", "code", "type", "status", "detail", "details", "metadata", "headers", "raw", "loc"),
    *("innererror", "param", "estimated_time", "retryDelay", "object", "response", "errors"),
]
JSON: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(FIELDS),
            inner,
            max_size=4,
        ),
    ),
    max_leaves=12,
)


@given(
    st.one_of(JSON.map(lambda value: json.dumps(value).encode()), st.binary(max_size=60)),
    st.integers(300, 599),
)
def test_no_body_makes_the_classification_raise(body: bytes, status: int) -> None:
    found = error(status, body)
    assert isinstance(found, errors.ProviderError)
    assert str(found).startswith("openai answered")


@given(JSON)
def test_no_error_inside_a_200_makes_it_raise(payload: Any) -> None:
    from penstock_wire.errors import embedded_error

    found = embedded_error(payload, HttpHead(200, {}, NOW), who="openai", redact=Redactor())
    assert isinstance(found, errors.ProviderError)
