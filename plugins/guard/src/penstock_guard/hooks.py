"""
A scan through the two hooks of a call, for clients without the guard stage, or with a scan of their own kind.

    Client(plugins=[("scan", ScanHooks(prompts="mask", answers="mask", patterns=("secret",)))])

Of a stream these hooks see the whole answer at its end and cannot change it; the stage (`[guard.scan]`) masks
streams while they are read.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Literal

from penstock.errors import RequestRejected
from penstock.hookspecs import hookimpl
from penstock_guard.patterns import PATTERNS
from penstock_guard.scan import Scanner

if TYPE_CHECKING:
    from penstock.call import Call
    from penstock.messages import Request
    from penstock.responses import Response

logger = logging.getLogger("penstock")


class ScanHooks:
    """
    Looks for private data and secrets in prompts and answers.

    Args:
        prompts: what to do about a find in a request: `off`, `log`, `mask`, or `reject` the call.
        answers: the same for answers; a find in one that is there already cannot be rejected.
        patterns: names of the table in `patterns.py`.
        custom: further ones, a name and a regular expression each.
        mask: what stands in for a find; `{name}` is its pattern's name.
    """

    def __init__(
        self,
        *,
        prompts: Literal["off", "log", "mask", "reject"] = "log",
        answers: Literal["off", "log", "mask"] = "log",
        patterns: Iterable[str] = tuple(PATTERNS),
        custom: Mapping[str, str] | None = None,
        mask: str = "[{name}]",
    ) -> None:
        self._prompts = prompts
        self._answers = answers
        self._scanner = Scanner(patterns, custom, mask)

    @hookimpl
    def penstock_pre_request(self, call: Call) -> Request | None:
        """Look at the request; masked, or refused, when told to."""
        if self._prompts == "off":
            return None
        request, count = self._scanner.request(call.request)
        if not count:
            return None
        found = ", ".join(sorted(count))
        logger.info("scan: call %s: the prompt holds %s (%s)", call.id, found, self._prompts)
        if self._prompts == "reject":
            raise RequestRejected(f"the prompt holds {found}, which the scan rejects")
        return request if self._prompts == "mask" else None

    @hookimpl
    def penstock_post_response(self, call: Call, response: Response) -> Response | None:
        """Look at the answer; masked when told to."""
        if self._answers == "off":
            return None
        changed, count = self._scanner.response(response)
        if not count:
            return None
        logger.info(
            "scan: call %s: the answer holds %s (%s)", call.id, ", ".join(sorted(count)), self._answers
        )
        return changed if self._answers == "mask" else None
