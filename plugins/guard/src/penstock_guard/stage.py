"""The guard stage: what may be asked, before anything else happens to a call."""

from __future__ import annotations

import logging
import re
import threading
from collections import Counter
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Literal

from penstock.errors import InvalidRequestError, RequestRejected
from penstock.events import GuardFound, GuardRejected
from penstock.messages import ChatRequest, ModelsRequest
from penstock.redaction import raise_alone
from penstock.specs import Scope
from penstock_guard.config import GuardConfig
from penstock_guard.images import ImageRules, needs_fetching, public_side, with_images
from penstock_guard.limits import RequestLimits
from penstock_guard.scan import Scanner, texts_of
from penstock_guard.stream import ScannedStream

if TYPE_CHECKING:
    from penstock.call import Call, Outcome, Reply
    from penstock.errors import CallError
    from penstock.responses import Response
    from penstock.specs import Proceed, Services
    from penstock_guard.config import ScanConfig

logger = logging.getLogger("penstock")
Where = Literal["prompt", "answer"]
MAX_NAME = 256
"""Characters a model's name may have."""
_ILLEGAL = re.compile(r"[\x00-\x20\x7f-\xa0]")


class GuardStage:
    """
    Refuses what is too much, fetches images safely, and looks for private data.

    A call may bring its own values: `client.chat(..., guard={"max_chars": 500_000})`.

    Args:
        config: the values in force where no override is.
        services: the transport that images are fetched with.

    Raises:
        ConfigError: images are to be fetched and the transport cannot do it safely.
    """

    def __init__(self, config: GuardConfig, services: Services) -> None:
        self._config = config
        transport = getattr(services.runtime, "transport", None)
        if config.images.fetch and transport is not None:
            public_side(transport)
        self._lock = threading.Lock()
        self._tally: Counter[str] = Counter()

    def bind(self, scope: Scope) -> GuardPlace:
        """The guard of one model or route."""
        return GuardPlace(self, scope.config, scope.route or str(scope.target))

    async def __call__(self, call: Call, proceed: Proceed) -> Reply:
        """Unbound, outside a client's pipeline."""
        return await GuardPlace(self, self._config, call.route or str(call.target))(call, proceed)

    def note(self, what: str, count: int = 1) -> None:
        """Count something that happened."""
        with self._lock:
            self._tally[what] += count

    def stats(self) -> dict[str, int]:
        """How often calls were rejected, images fetched, and each pattern found (`found.email`)."""
        with self._lock:
            return {"rejected": 0, "fetched": 0, **self._tally}


class GuardPlace:
    """
    The stage bound to one model or route.

    Args:
        guard: counts.
        config: the values in force there.
        name: the model or route.
    """

    def __init__(self, guard: GuardStage, config: GuardConfig, name: str) -> None:
        self._guard = guard
        self._config = config
        self._name = name
        self._limits = RequestLimits(config)
        self._refusal = _name_problem(name, config.models)
        self._images = ImageRules.of(config.images) if config.images.fetch else None
        scan = config.scan
        self._prompts, self._answers = scan.prompts, scan.answers
        self._scanner = scanner_of(scan) if {scan.prompts, scan.answers} != {"off"} else None
        self._check = self._limits.check
        self._plain = self._refusal is None and self._images is None and self._scanner is None

    async def __call__(self, call: Call, proceed: Proceed) -> Reply:
        if call.options and call.options.get("guard", True) is not True:
            return await self._own(call.options["guard"]).run(call, proceed)
        if not self._plain:
            return await self.run(call, proceed)
        try:
            self._check(call.request)
        except InvalidRequestError as error:
            self._rejected(call, error)
            raise
        return await proceed(call)

    async def run(self, call: Call, proceed: Proceed) -> Reply:
        """The way of a call whose options are seen to, with everything that may be configured."""
        try:
            await self._examine(call)
        except (InvalidRequestError, RequestRejected) as error:
            self._rejected(call, error)
            raise
        if self._scanner is None or self._answers == "off" or isinstance(call.request, ModelsRequest):
            return await proceed(call)
        return self._scanned(call, await proceed(call), self._scanner)

    async def _examine(self, call: Call) -> None:
        request = call.request
        if isinstance(request, ModelsRequest):
            return
        if self._refusal is not None:
            raise InvalidRequestError(self._refusal, param="model")
        self._check(request)
        if self._scanner is not None and self._prompts != "off":
            changed, count = self._scanner.request(request)
            if count:
                self._found(call, "prompt", self._prompts, count)
                if self._prompts == "reject":
                    raise _rejection("prompt", count)
                if self._prompts == "mask":
                    request = call.request = changed
        if self._images is not None and isinstance(request, ChatRequest) and needs_fetching(request):
            request = call.request = await with_images(call, request, self._images)
            self._guard.note("fetched")
            self._check(request)

    def _own(self, given: Any) -> GuardPlace:
        """The guard with a call's own values on top."""
        from pydantic import ValidationError

        if not isinstance(given, Mapping):
            raise InvalidRequestError(
                "guard: it must be False or a mapping of the keys of [guard]", param="guard"
            )
        try:
            config = GuardConfig.model_validate({**self._config.model_dump(), **given})
        except ValidationError as error:
            problem = error.errors(include_input=False, include_url=False, include_context=False)[0]
            where = ".".join(map(str, problem["loc"]))
            raise_alone(InvalidRequestError(f"guard: {where}: {problem['msg']}", param="guard"))
        return GuardPlace(self._guard, config, self._name)

    # Answers

    def _scanned(self, call: Call, reply: Reply, scanner: Scanner) -> Reply:
        action = self._answers
        if action == "log":
            reply.on_finish(lambda outcome: self._look(call, outcome, scanner))
            return reply
        if reply.outcome is None:
            return ScannedStream(
                reply,
                scanner,
                "reject" if action == "reject" else "mask",
                lambda count: self._found(call, "answer", action, count),
                lambda count: _rejection("answer", count),
            ).reply
        if reply.response is not None:
            changed, count = scanner.response(reply.response)
            if count:
                self._found(call, "answer", action, count)
                if action == "reject":
                    error = _rejection("answer", count)
                    self._rejected(call, error)
                    raise error
                reply.response = changed
        return reply

    def _look(self, call: Call, outcome: Outcome, scanner: Scanner) -> None:
        if outcome.response is not None:
            count = count_finds(outcome.response, scanner)
            if count:
                self._found(call, "answer", "log", count)

    # Telling

    def _found(self, call: Call, where: Where, action: Any, count: Counter[str]) -> None:
        for name, times in count.items():
            self._guard.note(f"found.{name}", times)
        logger.info("guard: call %s: the %s holds %s (%s)", call.id, where, _listed(count), action)
        if call.listeners:
            call.emit(GuardFound(call.runtime.now(), call, where, action, dict(count)))

    def _rejected(self, call: Call, error: CallError) -> None:
        self._guard.note("rejected")
        if call.listeners:
            param = getattr(error, "param", None)
            call.emit(GuardRejected(call.runtime.now(), call, param, error))


def scanner_of(config: ScanConfig) -> Scanner:
    """The scanner a configuration describes."""
    return Scanner(config.patterns, config.custom, config.mask)


def count_finds(response: Response, scanner: Scanner) -> Counter[str]:
    """How often each pattern is found in a response."""
    return Counter(find.name for text in texts_of(response) for find in scanner.finds(text))


def _name_problem(name: str, allowed: tuple[str, ...]) -> str | None:
    if len(name) > MAX_NAME:
        return f"model: a name may have {MAX_NAME} characters, not {len(name)}"
    if _ILLEGAL.search(name):
        return "model: a name may hold neither white space nor control characters"
    if allowed and not any(fnmatchcase(name, pattern) for pattern in allowed):
        return f"model: {name!r} is not among those allowed ([guard] models)"
    return None


def _rejection(where: Where, count: Counter[str]) -> RequestRejected:
    return RequestRejected(f"guard: the {where} holds {_listed(count)}, which [guard.scan] rejects")


def _listed(count: Counter[str]) -> str:
    return ", ".join(f"{name} ({times})" for name, times in count.most_common())
