"""
From TGI's JSON to a response: the parts that plain and streamed answers share.

A plain answer is `{generated_text, details}`, or a list of one on the path that hf-inference had. Nothing
here trusts a type: a field of the wrong one counts as missing. Without `details` the reason of the end is
not known and stays None.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from penstock.messages import EMPTY
from penstock.responses import ChatResponse, Choice, FinishReason, Usage
from penstock_wire.openai.think import ThinkSplitter

_FINISH: dict[str, FinishReason] = {"eos_token": "stop", "stop_sequence": "stop", "length": "length"}


def finish_reason(details: Any) -> tuple[FinishReason | None, str | None]:
    """The normal and the raw word; words we do not know are `other`."""
    raw = details.get("finish_reason") if isinstance(details, dict) else None
    if not isinstance(raw, str) or not raw:
        return None, None
    return _FINISH.get(raw, "other"), raw


def usage_of(details: Any, headers: Mapping[str, str]) -> Usage | None:
    """
    Tokens, None when the server did not count.

    Args:
        details: of the answer; its `input_length` is there in streams of later versions only.
        headers: of a plain answer, with `x-prompt-tokens`; names in lower case.
    """
    if not isinstance(details, dict):
        details = EMPTY
    given = _count(details.get("input_length"))
    made = _count(details.get("generated_tokens"))
    if given is None:
        given = _header(headers, "x-prompt-tokens")
    if given is None:
        prefill = details.get("prefill")
        given = len(prefill) if isinstance(prefill, list) and prefill else None
    if made is None:
        made = _header(headers, "x-generated-tokens")
    return None if given is None and made is None else Usage(given, made)


def _count(value: Any) -> int | None:
    return value if type(value) is int and value >= 0 else None


def _header(headers: Mapping[str, str], name: str) -> int | None:
    text = headers.get(name, "")
    return int(text) if len(text) < 12 and text.isascii() and text.isdigit() else None


def extra_of(details: Any) -> dict[str, Any]:
    """What else is worth keeping: the seed that was used."""
    seed = details.get("seed") if isinstance(details, dict) else None
    return {"seed": seed} if type(seed) is int else {}


def generated(payload: Any) -> dict[str, Any] | None:
    """The answer in a document, None when it holds none."""
    if isinstance(payload, list):
        payload = next((item for item in payload if isinstance(item, dict)), None)
    if isinstance(payload, dict) and isinstance(payload.get("generated_text"), str):
        return payload
    return None


def generate_response(
    payload: dict[str, Any],
    headers: Mapping[str, str],
    *,
    think_tags: bool,
    logprobs: bool,
    upstream_id: str | None,
) -> ChatResponse:
    """The response in a whole document."""
    text, reasoning = payload["generated_text"], ""
    if think_tags:
        splitter = ThinkSplitter()
        (text, reasoning), (more_text, more_reasoning) = splitter.feed(text), splitter.flush()
        text, reasoning = text + more_text, reasoning + more_reasoning
    details = payload.get("details")
    normal, raw = finish_reason(details)
    tokens = details.get("tokens") if logprobs and isinstance(details, dict) else None
    return ChatResponse(
        choices=(
            Choice(
                text=text,
                reasoning=reasoning,
                finish_reason=normal,
                raw_finish_reason=raw,
                logprobs=tokens if isinstance(tokens, list) and tokens else None,
            ),
        ),
        usage=usage_of(details, headers),
        extra=extra_of(details) or EMPTY,
        upstream_id=upstream_id,
    )
