"""
How good token counts are: estimates of recorded requests beside what the providers really counted.

For each method that can be used here: the median of the relative error, its 95th percentile, and the bias
(estimated over reported, in all); the same by what the requests hold, for prompts of 100 tokens and more (a
short one is half template, and a few tokens are a large share), and for every other recording of a model:
where a number of `families.py` comes from recordings, it comes from the ones between. Recordings are read
from the folder PENSTOCK_RECORDINGS names. Reported counts that are no count of the prompt are left out and
counted: prompts served in part from elsewhere (search results, stored prompts), and requests that were not
recorded.

    PENSTOCK_RECORDINGS=... python tests/benchmarks/bench_tokens.py [--each]
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from penstock.errors import InvalidRequestError
from penstock.messages import ChatRequest, EmbedRequest, Image, RawPart, Text
from penstock.requests import chat_request, embed_request
from penstock_cost import LearnedRatio, count_tokens
from penstock_cost.counting import heuristic

LONG = 100
"""Tokens from which on a prompt is no short one."""
LEFT_OUT = {"perplexity": "answers from search results", "huggingface": "hosts with templates of their own"}


@dataclass(frozen=True)
class Case:
    """A request, and the input tokens its provider reported."""

    file: str
    provider: str
    model: str
    request: ChatRequest | EmbedRequest
    reported: int


def documents(body: str) -> Iterator[dict[str, Any]]:
    """Every JSON object of a plain, SSE or NDJSON body."""
    for line in [body, *body.splitlines()]:
        text = line.removeprefix("data:").strip()
        if text.startswith("{"):
            try:
                document = json.loads(text)
            except ValueError:
                continue
            if isinstance(document, dict):
                yield document


def reported_input(body: str) -> int | None:
    """The input tokens a body reports, the last word counts."""
    found = None
    for document in documents(body):
        usage = document.get("usage") or {}
        if not isinstance(usage, dict):
            continue
        count = usage.get("prompt_tokens", document.get("prompt_eval_count"))
        if isinstance(count, int) and count > 0:
            found = count
            # Some count sound apart, in the total alone.
            found += max(0, usage.get("total_tokens", 0) - count - usage.get("completion_tokens", 0))
    return found


def kind(request: ChatRequest | EmbedRequest) -> str:
    """What a request holds that is hardest to count."""
    if isinstance(request, EmbedRequest):
        return "embeddings"
    parts = [part for each in request.messages if isinstance(each.content, tuple) for part in each.content]
    given = [
        part.url if isinstance(part, Image) else part.payload.get("image_url")
        for part in parts
        if not isinstance(part, Text)
    ]
    if any(isinstance(url, str) and url.startswith("http") for url in given):
        return "images of unknown size"
    if any(not isinstance(part, Text) for part in parts):
        return "images, sound, files"
    return "tools" if request.tools else "schemas" if request.schema is not None else "text"


def request_of(body: Any) -> ChatRequest | EmbedRequest | None:
    """The recorded request in our own form; None when it is of another kind or malformed."""
    payload = json.loads(body) if isinstance(body, str) else body
    if not isinstance(payload, dict):
        return None
    model = str(payload.get("model") or "unknown")
    try:
        if "messages" in payload:
            if "functions" in payload or "plugins" in payload:
                return None
            given: dict[str, Any] = {"tools": payload.get("tools") or None}
            shape = payload.get("response_format") or {}
            if shape.get("type") == "json_schema":
                given["schema"] = shape["json_schema"].get("schema")
            return chat_request(model, payload["messages"], given, stream=False)
        if isinstance(payload.get("input"), str | list) and payload["input"]:
            return embed_request(model, payload["input"], {})
    except (InvalidRequestError, KeyError):
        return None
    return None


def cases(folder: Path) -> tuple[list[Case], dict[str, int]]:
    """Every recording that can be compared, and how many cannot, by reason."""
    found: list[Case] = []
    skipped: dict[str, int] = defaultdict(int)
    for path in sorted(folder.glob("interactions/*/*.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        if record["status"] != 200 or record["endpoint"] not in (
            "chat/completions",
            "embeddings",
            "api/chat",
        ):
            continue
        provider = record["provider"]
        count = reported_input(record["response_body"] or "")
        request = request_of(record["request_body"]) if record["request_body"] else None
        if provider in LEFT_OUT:
            skipped[LEFT_OUT[provider]] += 1
        elif isinstance(request, ChatRequest) and any(isinstance(tool, RawPart) for tool in request.tools):
            skipped["tools of the provider's own, and what they found"] += 1
        elif count is None:
            skipped["no count reported"] += 1
        elif request is None:
            skipped["request not recorded"] += 1
        else:
            found.append(Case(path.name, provider, request.model, request, count))
    return found, skipped


def row(name: str, pairs: list[tuple[int, int]]) -> None:
    """Print what pairs of estimated and reported tokens say."""
    errors = sorted(abs(estimated - reported) / reported for estimated, reported in pairs)
    high = errors[min(len(errors) - 1, int(len(errors) * 0.95))]
    bias = sum(estimated for estimated, _ in pairs) / sum(reported for _, reported in pairs)
    print(f"{name:36} {len(pairs):5} {statistics.median(errors):9.1%} {high:9.1%} {bias:9.2f}")


def learning(found: list[Case]) -> list[tuple[int, int]]:
    """Estimates as a running client makes them: each model's ratio learned from its answers before."""
    learned: dict[tuple[str, str], LearnedRatio] = defaultdict(LearnedRatio)
    pairs = []
    for case in found:
        ratio = learned[case.provider, case.model]
        plain = heuristic(case.request, case.model, case.provider)
        pairs.append((round(plain * ratio.ratio), case.reported))
        ratio.observe(plain, case.reported)
    return pairs


def main() -> None:
    folder = Path(os.environ.get("PENSTOCK_RECORDINGS", ""))
    if not os.environ.get("PENSTOCK_RECORDINGS") or not folder.is_dir():
        print("PENSTOCK_RECORDINGS names no folder of recordings; nothing to compare")
        return
    found, skipped = cases(folder)
    print(f"{'':36} {'cases':>5} {'median':>9} {'p95':>9} {'bias':>9}")
    by_method: dict[str, list[tuple[int, int]]] = defaultdict(list)
    by_provider: dict[str, list[tuple[int, int]]] = defaultdict(list)
    by_kind: dict[str, list[tuple[int, int]]] = defaultdict(list)
    long: list[tuple[int, int]] = []
    held_out: list[tuple[int, int]] = []
    seen: dict[tuple[str, str], int] = defaultdict(int)
    for case in found:
        count = count_tokens(case.request, case.model, case.provider)
        by_method[count.method].append((count.tokens, case.reported))
        estimated = heuristic(case.request, case.model, case.provider)
        pair = (estimated, case.reported)
        by_provider[case.provider].append(pair)
        by_kind[kind(case.request)].append(pair)
        if case.reported >= LONG:
            long.append(pair)
        if seen[case.provider, case.model] % 2:
            held_out.append(pair)
        seen[case.provider, case.model] += 1
        if "--each" in sys.argv:
            error = estimated / case.reported - 1
            print(f"  {error:+8.1%} {estimated:6} {case.reported:6} {case.provider}/{case.model} {case.file}")
    for method, pairs in sorted(by_method.items()):
        row(method, pairs)
    row("heuristic, learned ratio", learning(found))
    row("heuristic, held out", held_out)
    row(f"heuristic, {LONG} tokens or more", long)
    for name, pairs in sorted(by_kind.items()):
        row(f"  heuristic, {name}", pairs)
    for provider, pairs in sorted(by_provider.items()):
        row(f"  heuristic, {provider}", pairs)
    for reason, number in sorted(skipped.items()):
        print(f"left out: {number:4} {reason}")
    if not found:
        return
    started = time.process_time()
    for case in found:
        heuristic(case.request, case.model, case.provider)
    print(f"{(time.process_time() - started) / len(found) * 1e6:.1f} us for one estimate")


if __name__ == "__main__":
    main()
