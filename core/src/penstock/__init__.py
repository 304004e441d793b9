"""
Penstock: the gated pipe between an application and any language model.

Names are imported when they are first used, so that `import penstock` costs next to nothing and a program
pays only for the parts it touches.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from penstock.answers import Answer, AsyncStream, Embeddings, Stream
    from penstock.call import Attempt, Call, Outcome, Reply, Target, Timeouts
    from penstock.client import AsyncClient, Client, SimulatedClient
    from penstock.errors import (
        AllTargetsFailed,
        AttemptTimeout,
        AuthenticationError,
        BreakerOpen,
        BudgetExhausted,
        CallError,
        CertificateError,
        ConfigError,
        ConflictError,
        ConnectError,
        ContentFilterError,
        ContextLengthError,
        DeadlineExceeded,
        DuplicatePluginError,
        InvalidRequestError,
        MalformedResponse,
        MissingCredentialError,
        ModelLoadingError,
        ModelNotFoundError,
        OutputValidationError,
        OverloadedError,
        OversizedRequestError,
        PenstockError,
        PermissionDeniedError,
        PluginError,
        PluginLoadError,
        PluginNotFoundError,
        ProviderError,
        QueueFullError,
        QuotaExceededError,
        RateLimited,
        RateLimitError,
        Rejection,
        RequestRejected,
        RequestTimeoutError,
        RequestTooLarge,
        ResponseTooLarge,
        ServerError,
        StageSuspendedError,
        StreamInterrupted,
        TransferError,
        TransportError,
        UnknownModelError,
        UsageError,
    )
    from penstock.health import Finding, Health
    from penstock.hookspecs import hookimpl
    from penstock.messages import (
        ChatRequest,
        EmbedRequest,
        Image,
        Message,
        RawPart,
        Schema,
        Text,
        Tool,
        ToolCall,
    )
    from penstock.responses import (
        ChatResponse,
        Choice,
        Chunk,
        EmbedResponse,
        Model,
        ToolCallDelta,
        Usage,
    )
    from penstock.specs import (
        HealthCheckSpec,
        ListenerSpec,
        ProviderSpec,
        Slot,
        StageSpec,
        StoreSpec,
        TransportSpec,
    )

_HOMES = {
    "answers": "Answer AsyncStream Embeddings Stream",
    "call": "Attempt Call Outcome Reply Target Timeouts",
    "client": "AsyncClient Client SimulatedClient",
    "errors": (
        "AllTargetsFailed AttemptTimeout AuthenticationError BreakerOpen BudgetExhausted "
        "CallError CertificateError ConfigError ConflictError ConnectError ContentFilterError "
        "ContextLengthError DeadlineExceeded DuplicatePluginError InvalidRequestError "
        "MalformedResponse MissingCredentialError ModelLoadingError ModelNotFoundError "
        "OutputValidationError OverloadedError OversizedRequestError PenstockError "
        "PermissionDeniedError PluginError PluginLoadError PluginNotFoundError ProviderError "
        "QueueFullError QuotaExceededError RateLimited RateLimitError Rejection RequestRejected "
        "RequestTimeoutError RequestTooLarge ResponseTooLarge ServerError StageSuspendedError "
        "StreamInterrupted TransferError TransportError UnknownModelError UsageError"
    ),
    "health": "Finding Health",
    "hookspecs": "hookimpl",
    "messages": "ChatRequest EmbedRequest Image Message RawPart Schema Text Tool ToolCall",
    "responses": "ChatResponse Choice Chunk EmbedResponse Model ToolCallDelta Usage",
    "specs": "HealthCheckSpec ListenerSpec ProviderSpec Slot StageSpec StoreSpec TransportSpec",
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names.split()}

__all__ = [
    "AllTargetsFailed",
    "Answer",
    "AsyncClient",
    "AsyncStream",
    "Attempt",
    "AttemptTimeout",
    "AuthenticationError",
    "BreakerOpen",
    "BudgetExhausted",
    "Call",
    "CallError",
    "CertificateError",
    "ChatRequest",
    "ChatResponse",
    "Choice",
    "Chunk",
    "Client",
    "ConfigError",
    "ConflictError",
    "ConnectError",
    "ContentFilterError",
    "ContextLengthError",
    "DeadlineExceeded",
    "DuplicatePluginError",
    "EmbedRequest",
    "EmbedResponse",
    "Embeddings",
    "Finding",
    "Health",
    "HealthCheckSpec",
    "Image",
    "InvalidRequestError",
    "ListenerSpec",
    "MalformedResponse",
    "Message",
    "MissingCredentialError",
    "Model",
    "ModelLoadingError",
    "ModelNotFoundError",
    "Outcome",
    "OutputValidationError",
    "OverloadedError",
    "OversizedRequestError",
    "PenstockError",
    "PermissionDeniedError",
    "PluginError",
    "PluginLoadError",
    "PluginNotFoundError",
    "ProviderError",
    "ProviderSpec",
    "QueueFullError",
    "QuotaExceededError",
    "RateLimitError",
    "RateLimited",
    "RawPart",
    "Rejection",
    "Reply",
    "RequestRejected",
    "RequestTimeoutError",
    "RequestTooLarge",
    "ResponseTooLarge",
    "Schema",
    "ServerError",
    "SimulatedClient",
    "Slot",
    "StageSpec",
    "StageSuspendedError",
    "StoreSpec",
    "Stream",
    "StreamInterrupted",
    "Target",
    "Text",
    "Timeouts",
    "Tool",
    "ToolCall",
    "ToolCallDelta",
    "TransferError",
    "TransportError",
    "TransportSpec",
    "UnknownModelError",
    "Usage",
    "UsageError",
    "hookimpl",
]


def __getattr__(name: str) -> object:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(importlib.import_module(f"{__name__}.{_HOME_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
