"""
Ask the server how many tokens a request has: one or two small requests, made only when somebody asks for it.

The provider's own codec encodes the request, so what is counted is what would be sent, to the same origin
with the same credential. Three ways are known, tried in this order:

- the Responses API of OpenAI: `<url>/input_tokens`;
- vLLM: `/tokenize` with messages, which answers with a `count`;
- llama.cpp: `/apply-template` makes the prompt, `/tokenize` its tokens.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from penstock.errors import InvalidRequestError, MalformedResponse, ProviderError
from penstock.http import HttpRequest, HttpResponse, Limits
from penstock_cost.counting import TokenCount

if TYPE_CHECKING:
    from penstock.call import Target
    from penstock.messages import Request
    from penstock.provider import Codec
    from penstock.runtime import Runtime

SECONDS = 30.0
MAX_BYTES = 32 * 1024 * 1024
_COUNTED = frozenset(
    {"conversation", "input", "instructions", "model", "parallel_tool_calls", "previous_response_id"}
    | {"reasoning", "text", "tool_choice", "tools", "truncation"}
)


async def exact_count(runtime: Runtime, codec: Codec, request: Request, target: Target) -> TokenCount:
    """
    Tokens by the server's own word.

    Raises:
        InvalidRequestError: the server cannot count this, as far as is known.
        ProviderError: it refused, or was not reached.
    """
    sent = codec.encode(request, target.model)
    try:
        body = json.loads(sent.body or b"")
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise _no_way(target)
    asking = _Asking(runtime, codec, sent)
    if urlsplit(sent.url).path.endswith("/responses"):
        wanted = {name: value for name, value in body.items() if name in _COUNTED}
        answer = await asking.post(_below(sent.url, "/input_tokens"), wanted)
        return _counted(answer.get("input_tokens") if answer else None, "input_tokens", target)
    body.pop("stream", None)
    body.pop("stream_options", None)
    answer = await asking.post(_beside(sent.url, "/tokenize"), body)
    if answer is None:
        raise _no_way(target)
    if "count" in answer:
        return _counted(answer["count"], "tokenize", target)
    made = await asking.post(_beside(sent.url, "/apply-template"), body)
    prompt = made.get("prompt") if made is not None else None
    if not isinstance(prompt, str):
        raise _no_way(target)
    content = {"content": prompt, "add_special": True, "parse_special": True}
    answer = await asking.post(_beside(sent.url, "/tokenize"), content)
    tokens = answer.get("tokens") if answer is not None else None
    return _counted(len(tokens) if isinstance(tokens, list) else None, "apply-template", target)


class _Asking:
    """Small requests to the origin of a codec."""

    def __init__(self, runtime: Runtime, codec: Codec, sent: HttpRequest) -> None:
        self._runtime = runtime
        self._codec = codec
        self._headers = sent.headers

    async def post(self, url: str, payload: dict[str, Any]) -> dict[str, Any] | None:
        """The answer to a JSON body; None where the server has nothing at this address."""
        due = self._runtime.now() + SECONDS
        limits = Limits(connect=SECONDS, pool=SECONDS, due=due, max_bytes=MAX_BYTES)
        request = HttpRequest("POST", url, self._headers, json.dumps(payload).encode())
        exchange = await self._runtime.transport.send(request, limits)
        try:
            head = exchange.head
            data = await exchange.read_all(due)
            await exchange.close(reuse=True)
        finally:
            await exchange.close()
        if head.status in (404, 405, 501):
            return None
        if not 200 <= head.status < 300:
            raise self._codec.error(HttpResponse(head.status, head.headers, head.received, data))
        try:
            answer = json.loads(data)
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise MalformedResponse("the server's count is no JSON object", status=head.status)
        return answer


def _below(url: str, path: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(path=parts.path + path))


def _beside(url: str, path: str) -> str:
    """At the root of the server, where its own endpoints are; in front of `/v1` when it has a prefix."""
    parts = urlsplit(url)
    prefix = parts.path.rpartition("/v1/")[0]
    return urlunsplit(parts._replace(path=prefix + path, query=""))


def _counted(tokens: Any, detail: str, target: Target) -> TokenCount:
    if isinstance(tokens, bool) or not isinstance(tokens, int):
        raise _no_way(target)
    return TokenCount(tokens, "exact", detail)


def _no_way(target: Target) -> ProviderError:
    return InvalidRequestError(f"{target}: its server offers no way to count tokens that is known here")
