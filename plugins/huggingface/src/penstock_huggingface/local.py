"""
A model in this process, as a provider.

Rules
1. torch and transformers are imported when the first model is loaded; that they are installed is checked
   when the client is built.
2. A model is loaded once in a process, by a thread of its own, and shared by every client that asks for it
   in the same form; it leaves memory with the last of them. A call waits for the load as long as its
   attempt may take, and is then told that the model is loading.
3. Answers are made in the model's own worker threads, in the order they were asked for. Closing a stream, a
   cancelled call and an expired limit all stop the work at the next token.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakSet

from penstock.call import NEVER, Reply
from penstock.errors import (
    AttemptTimeout,
    InvalidRequestError,
    ModelLoadingError,
    ProviderError,
    StreamInterrupted,
)
from penstock.exchange import LiveStream, deadline_exceeded
from penstock.messages import EmbedRequest, ModelsRequest
from penstock.redaction import Unpicklable
from penstock.responses import Assembly, EmbedResponse, ModelsResponse, Usage
from penstock_huggingface.generation import Generation, GenerationDecoder, GenerationExchange
from penstock_huggingface.local_embedding import Embedding
from penstock_huggingface.local_folder import listed, source_of
from penstock_huggingface.local_request import prepare, refuse
from penstock_huggingface.shelf import ModelKey, Place, shelf
from penstock_huggingface.templates import require

if TYPE_CHECKING:
    from penstock.call import Call
    from penstock.errors import CallError
    from penstock.messages import ChatRequest
    from penstock_huggingface.config import HuggingFaceConfig
    from penstock_huggingface.shelf import Kind, LoadedModel


class LocalProvider(Unpicklable):
    """
    Chat and embeddings by transformers in this process.

    Args:
        config: which models, and how they run.
        name: the instance's name, for messages.

    Raises:
        ConfigError: torch or transformers is not installed, or the folder does not exist.
    """

    def __init__(self, config: HuggingFaceConfig, name: str) -> None:
        require(name, "torch", "transformers")
        if config.device == "auto":
            require(name, "accelerate")
        self.base_url = Path(config.path).absolute().as_uri() if config.path else "file:"
        self.name = name
        self._config = config
        self._folder = Path(config.path) if config.path else None
        self._held: OrderedDict[ModelKey, Place] = OrderedDict()
        self._work: WeakSet[Generation | Embedding] = WeakSet()
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r} at {self.base_url}>"

    async def send(self, call: Call) -> Reply:
        """One attempt; see the rules above and those of `penstock.exchange`."""
        request, model = call.request, call.target.model  # type: ignore[union-attr]  # set by now
        if isinstance(request, ModelsRequest):
            models = await call.runtime.run_blocking(listed, self._folder, self.name, self.memory())
            return Reply(ModelsResponse(models=models))
        due = min(call.runtime.now() + call.timeouts.attempt, call.deadline)
        try:
            if isinstance(request, EmbedRequest):
                return await self._embed(call, request, model, due)
            return await self._chat(call, request, model, due)
        except AttemptTimeout:
            raise _expired(call, streamed=request.stream) from None

    async def _chat(self, call: Call, request: ChatRequest, model: str, due: float) -> Reply:
        refuse(request, self.name)
        runtime, timeouts = call.runtime, call.timeouts
        loaded = await self._model(call, model, "chat", due)
        task = await runtime.run_blocking(prepare, loaded, request, self._config)
        if request.stream:
            due = min(due, runtime.now() + timeouts.first_token)
        generation = Generation(loaded, task)
        with self._lock:
            self._work.add(generation)
        kept = False
        try:
            if not request.stream:
                chunks = await runtime.run_blocking(generation.rest, seconds(due, runtime.now()))
                assembly = Assembly()
                assembly.model = model
                for chunk in chunks:
                    assembly.add(chunk)
                answer = assembly.response()
                if answer.finish_reason is None:
                    raise StreamInterrupted(f"{self.name}: the generation was stopped", partial=answer)
                return Reply(answer)
            exchange = GenerationExchange(generation, runtime)
            stream = LiveStream(call, exchange, GenerationDecoder(exchange, model), due)
            await stream.commit()
            kept = True
            return stream.reply
        finally:
            if not kept:
                generation.stop()

    async def _embed(self, call: Call, request: EmbedRequest, model: str, due: float) -> Reply:
        if request.dimensions is not None or request.extra:
            raise InvalidRequestError(
                f"{self.name}: local embeddings have their own size and no further parameters",
                param="dimensions" if request.dimensions is not None else "extra",
            )
        loaded = await self._model(call, model, "embed", due)
        embedding = Embedding(loaded, request.inputs, normalize=self._config.normalize)
        with self._lock:
            self._work.add(embedding)
        try:
            timeout = seconds(due, call.runtime.now())
            vectors, tokens = await call.runtime.run_blocking(embedding.result, timeout)
        finally:
            embedding.stop()
        return Reply(EmbedResponse(vectors=vectors, model=model, usage=Usage(tokens)))

    async def _model(self, call: Call, model: str, kind: Kind, due: float) -> LoadedModel:
        """The model, loaded if need be; the one used longest ago makes room."""
        config = self._config
        source = source_of(model, self._folder, self.name)
        key = ModelKey.of(source, kind, config)
        spare: list[Place] = []
        with self._lock:
            place = self._held.get(key)
            if place is None or place.failure is not None:
                place = self._held[key] = shelf.take(key, self.name)
            self._held.move_to_end(key)
            while len(self._held) > config.max_models:
                spare.append(self._held.popitem(last=False)[1])
        for each in spare:
            shelf.give_back(each)
        if place.loaded is not None:
            return place.loaded
        # When this call gives up, the load goes on and the next one finds more of it done.
        try:
            loaded = await call.runtime.run_blocking(place.wait, seconds(due, call.runtime.now()))
        except ProviderError:
            with self._lock:
                if self._held.get(key) is place:
                    del self._held[key]
            raise
        if loaded is not None:
            return loaded
        if call.runtime.now() >= call.deadline:
            raise deadline_exceeded(call)
        raise ModelLoadingError(f"{self.name}: the model {model!r} is being loaded")

    def memory(self) -> dict[str, int]:
        """Bytes of the weights of each model this instance has in memory, by its folder or Hub name."""
        with self._lock:
            found: dict[str, int] = {}
            for key, place in self._held.items():
                if place.loaded is not None:
                    found[key.source] = found.get(key.source, 0) + place.loaded.memory
            return found

    async def close(self) -> None:
        """Stop what is being made and let the models go; never raises, may be called twice."""
        with self._lock:
            working = list(self._work)
        for work in working:
            work.stop()
        with self._lock:
            places = list(self._held.values())
            self._held.clear()
        for place in places:
            shelf.give_back(place)


def _expired(call: Call, *, streamed: bool) -> CallError:
    """Which limit it was."""
    if call.runtime.now() >= call.deadline:
        return deadline_exceeded(call)
    timeouts = call.timeouts
    if streamed and timeouts.first_token < timeouts.attempt:
        message = f"{call.target}: no first token within {timeouts.first_token:g} s"
        return AttemptTimeout(message, phase="first_token")
    return AttemptTimeout(f"{call.target}: no answer within {timeouts.attempt:g} s", phase="attempt")


def seconds(due: float, now: float) -> float | None:
    """How long to wait, None for ever."""
    return None if due == NEVER else max(0.0, due - now)
