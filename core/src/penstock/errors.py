"""
Every error a caller can meet, and what the stages may do about each.

    PenstockError
    ├── ConfigError                       (also ValueError) the configuration names a culprit and a fix
    │   ├── MissingCredentialError
    │   └── PluginError
    │       ├── PluginNotFoundError       named but not installed: says what to install
    │       ├── PluginLoadError           installed but broken: name, version, cause
    │       └── DuplicatePluginError      two distributions claim one name
    ├── UsageError                        closed client, wrong event loop, ...
    │   └── StageSuspendedError           a stage awaited something foreign in the blocking client
    └── CallError                         a call ended without an answer
        ├── RequestRejected               a pre-request hook or the guard said no
        ├── DeadlineExceeded              (also TimeoutError) the call's total time is spent
        ├── Rejection                     refused locally: carries the stage and retry_after
        │   ├── BreakerOpen, RateLimited, BudgetExhausted, RequestTooLarge
        ├── AllTargetsFailed              every target of a route failed or was skipped
        └── ProviderError                 one attempt failed
            ├── TransportError            nothing usable came back
            │   ├── ConnectError, CertificateError, TransferError, AttemptTimeout, MalformedResponse
            │   ├── ResponseTooLarge
            │   └── StreamInterrupted     cut after the commit point: carries the partial answer
            ├── InvalidRequestError       (also ValueError) 400/422, or refused before sending
            │   └── ContextLengthError, UnknownModelError
            ├── AuthenticationError, PermissionDeniedError, QuotaExceededError
            ├── ModelNotFoundError, ModelLoadingError, ContentFilterError, OutputValidationError
            ├── RateLimitError, OversizedRequestError, QueueFullError
            └── ServerError, OverloadedError, ConflictError, RequestTimeoutError

What a stage may do about an error is in its attributes `retryable`, `retry_limit`, `throttled`, `counts`,
`failover`, `cooldown` and `negative_ttl`: it reads a decision and never inspects a status code.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from penstock.answers import Answer
    from penstock.call import Attempt, Target
    from penstock.responses import ChatResponse

Failover = Literal["yes", "no", "larger_window", "opt_in"]


class PenstockError(Exception):
    """The root of everything Penstock raises on purpose."""


class ConfigError(PenstockError, ValueError):
    """The configuration cannot work; the message names the place, the culprit and the fix."""


class MissingCredentialError(ConfigError):
    """A provider needs a key and none was found; the message names the variable to set."""


class PluginError(ConfigError):
    """A plugin cannot be used."""


class PluginNotFoundError(PluginError):
    """A stage, provider or transport is named but not installed."""


class PluginLoadError(PluginError):
    """An installed plugin failed while it was loaded; the cause is chained."""


class DuplicatePluginError(PluginError):
    """Two distributions claim the same name; the message names both."""


class UsageError(PenstockError, RuntimeError):
    """The client is used in a way that cannot work: closed, or from another event loop."""


class StageSuspendedError(UsageError):
    """A stage awaited something that only an event loop can resume, in the blocking client."""


class CallError(PenstockError):
    """
    A call ended without an answer.

    Attributes:
        retry_after: seconds the other side (or a local stage) asked us to wait, or None.
        target: the provider and model of the attempt that failed, or None.
        attempts: every attempt of the call, oldest first; filled in when the error leaves the client.
        tags: short words stages add to say why they let the error through: `budget_exhausted`, ...
    """

    retryable: bool = False
    """May the same target be tried again."""
    retry_limit: ClassVar[int | None] = None
    """At most this many retries for this kind, None for the policy's own limit."""
    throttled: ClassVar[bool] = False
    """Back off from the slower base: the server is busy, not broken."""
    min_delay: ClassVar[float] = 0.0
    """Never retry sooner than this many seconds."""
    counts: bool = False
    """Does the circuit breaker sample this as a failure."""
    failover: Failover = "no"
    """May another target be tried."""
    cooldown: ClassVar[bool] = False
    """Rest the credential: every call with it would fail the same way."""
    negative_ttl: ClassVar[float] = 0.0
    """Seconds a negative cache, when switched on, may remember this error."""

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.target: Target | None = None
        self.attempts: tuple[Attempt, ...] = ()
        self.tags: tuple[str, ...] = ()

    def tag(self, word: str) -> None:
        """Add a short word that says why the error was let through."""
        if word not in self.tags:
            self.tags = (*self.tags, word)


class RequestRejected(CallError):
    """A pre-request hook refused the request; nothing was sent."""


class DeadlineExceeded(CallError, TimeoutError):
    """
    The total time of the call is spent; told apart from the caller's own cancellation.

    Attributes:
        partial: what had arrived of a stream, or None.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.partial: ChatResponse | None = None


class Rejection(CallError):
    """A local stage refused: nothing was sent, never retried on the same target, failover may go on."""

    failover: Failover = "yes"

    def __init__(self, message: str, *, stage: str, retry_after: float | None = None) -> None:
        super().__init__(message, retry_after=retry_after)
        self.stage = stage


class BreakerOpen(Rejection):
    """The circuit breaker of the target is open."""


class RateLimited(Rejection):
    """The local rate limiter has no room within the time allowed."""


class BudgetExhausted(Rejection):
    """A spending or retry budget is empty."""


class RequestTooLarge(Rejection):
    """The request costs more than the limiter's whole limit: waiting would never help."""


class AllTargetsFailed(CallError):
    """
    Every target of a route failed or was skipped: `errors` has one for each, in the order they were tried,
    and `retry_after` is the smallest hint among them, in seconds.
    """

    def __init__(self, message: str, errors: Sequence[CallError]) -> None:
        hints = [error.retry_after for error in errors if error.retry_after is not None]
        super().__init__(message, retry_after=min(hints) if hints else None)
        self.errors = tuple(errors)


class ProviderError(CallError):
    """
    One attempt failed, by the provider's word or on the way to it.

    Attributes:
        status: HTTP status, or None when no response arrived.
        code: the provider's own error code or type, as text, or None.
        upstream_id: the provider's request id, or None.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        code: str | None = None,
        retry_after: float | None = None,
        upstream_id: str | None = None,
    ) -> None:
        super().__init__(message, retry_after=retry_after)
        self.status = status
        self.code = code
        self.upstream_id = upstream_id


class TransportError(ProviderError):
    """Nothing usable came back from the server."""

    retryable = True
    counts = True
    failover: Failover = "yes"


class ConnectError(TransportError):
    """Name resolution, TCP connect or TLS handshake failed; the request was not sent."""


class CertificateError(ConnectError):
    """The server's certificate was refused: trying again cannot help."""

    retryable = False


class TransferError(TransportError):
    """The connection broke, or the peer spoke no HTTP, before the first event."""


class ResponseTooLarge(TransportError):
    """The answer has more bytes than allowed; it would have as many again."""

    retryable = False
    counts = False


class AttemptTimeout(TransportError, TimeoutError):
    """One attempt took too long: connect, pool, first token, idle or attempt (see `phase`)."""

    retry_limit = 1

    def __init__(self, message: str, *, phase: str) -> None:
        super().__init__(message, code=f"{phase}_timeout")
        self.phase = phase
        self.counts = phase != "pool"  # our own pool being full says nothing about the server


class MalformedResponse(TransportError):
    """A 2xx answer that is not what the protocol promises: HTML, broken JSON, an empty body."""


class StreamInterrupted(TransportError):
    """
    The stream ended without its terminal marker.

    Attributes:
        partial: what had arrived, as a response without a finish reason.
    """

    def __init__(
        self,
        message: str,
        *,
        partial: ChatResponse | None = None,
        status: int | None = None,
        code: str | None = None,
    ) -> None:
        super().__init__(message, status=status, code=code)
        self.partial = partial


class InvalidRequestError(ProviderError, ValueError):
    """
    The request is wrong, by the server's word (status set) or before it was sent (status None).

    Attributes:
        param: the parameter at fault, or None.
    """

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        status: int | None = None,
        code: str | None = None,
        retry_after: float | None = None,
        upstream_id: str | None = None,
    ) -> None:
        super().__init__(message, status=status, code=code, retry_after=retry_after, upstream_id=upstream_id)
        self.param = param


class ContextLengthError(InvalidRequestError):
    """The prompt does not fit the model's window; only a larger window can help."""

    failover: Failover = "larger_window"
    negative_ttl = 30.0


class UnknownModelError(InvalidRequestError):
    """No provider claims the model; the message lists who was asked."""


class AuthenticationError(ProviderError):
    """401: the credential is wrong or missing."""

    failover: Failover = "yes"
    cooldown = True


class PermissionDeniedError(AuthenticationError):
    """403: the credential may not do this."""


class QuotaExceededError(ProviderError):
    """402, or a 429 that says the money is spent: a wait will not help."""

    failover: Failover = "yes"
    cooldown = True


class ModelNotFoundError(ProviderError):
    """The provider does not know the model."""

    failover: Failover = "yes"
    negative_ttl = 30.0


class ModelLoadingError(ProviderError):
    """The model is being loaded; `retry_after` is the server's estimate in seconds."""

    retryable = True
    min_delay = 5.0
    failover: Failover = "yes"


class ContentFilterError(ProviderError):
    """The provider refused the content; another vendor is asked only on request."""

    failover: Failover = "opt_in"


class OutputValidationError(ProviderError):
    """The answer does not fit the schema that was asked for; `answer` holds it, so nothing is lost."""

    def __init__(self, message: str, *, answer: Answer) -> None:
        super().__init__(message)
        self.answer = answer


class RateLimitError(ProviderError):
    """429: too many requests or tokens; the whole key should pause for `retry_after` seconds."""

    retryable = True
    throttled = True
    failover: Failover = "yes"


class OversizedRequestError(ProviderError):
    """429 because the request alone is larger than the limit: it never fits."""

    failover: Failover = "yes"


class QueueFullError(ProviderError):
    """A model server's own queue is full: busy, not broken, so the breaker does not count it."""

    retryable = True
    throttled = True
    failover: Failover = "yes"


class ServerError(ProviderError):
    """500, 502, 504: the provider failed."""

    retryable = True
    counts = True
    failover: Failover = "yes"


class OverloadedError(ServerError):
    """503, 529: the provider has no room; back off from the slower base."""

    throttled = True


class ConflictError(ProviderError):
    """409: another request holds the resource."""

    retryable = True
    failover: Failover = "yes"


class RequestTimeoutError(ProviderError):
    """408: the server gave up waiting for the request."""

    retryable = True
    counts = True
    failover: Failover = "yes"
