"""
The Responses API as a codec: chats go to `/responses`, everything else as in the OpenAI dialect.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from penstock_wire.openai.dialect import OpenAIDialect
from penstock_wire.openai.responses_answer import responses_answer
from penstock_wire.openai.responses_request import responses_payload
from penstock_wire.openai.responses_stream import ResponsesStreamDecoder

if TYPE_CHECKING:
    from penstock.http import HttpHead
    from penstock.messages import ChatRequest, Request
    from penstock.responses import ChatResponse


class ResponsesDialect(OpenAIDialect):
    """A codec for one server that offers the Responses API; arguments as for `OpenAIDialect`."""

    NOTHING = "no output"

    def _is_error(self, payload: Any) -> bool:
        failed = isinstance(payload, dict) and payload.get("status") == "failed"
        return failed or super()._is_error(payload)

    def _chat_form(self, request: ChatRequest, model: str) -> tuple[str, dict[str, Any]]:
        return self._responses_url, responses_payload(request, model, self.quirks)

    def _chat_answer(self, payload: dict[str, Any], upstream: str | None) -> ChatResponse | None:
        return responses_answer(payload, upstream)

    def decoder(self, request: Request, head: HttpHead) -> ResponsesStreamDecoder:
        """A fresh decoder for one streamed response."""
        return ResponsesStreamDecoder(head, **self._stream_form(request, head))
