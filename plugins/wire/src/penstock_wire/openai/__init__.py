"""The OpenAI wire dialect, client direction."""

from __future__ import annotations

from penstock_wire.openai.dialect import OpenAIDialect, Paths
from penstock_wire.openai.extras import VENDOR_EXTRAS
from penstock_wire.openai.quirks import Quirks, reasons
from penstock_wire.openai.responses import ResponsesDialect
from penstock_wire.openai.responses_stream import ResponsesStreamDecoder
from penstock_wire.openai.stream import ChatStreamDecoder

__all__ = [
    "VENDOR_EXTRAS",
    "ChatStreamDecoder",
    "OpenAIDialect",
    "Paths",
    "Quirks",
    "ResponsesDialect",
    "ResponsesStreamDecoder",
    "reasons",
]
