"""
From a request to what transformers needs: the tokens of the prompt and the arguments of `generate`.

What a local model cannot do and would change the answer is refused; nothing is dropped without a word.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from penstock.errors import ContextLengthError, InvalidRequestError
from penstock.messages import ChatRequest, Message, Tool
from penstock_huggingface.prompts import plain_text, render

if TYPE_CHECKING:
    from penstock_huggingface.config import HuggingFaceConfig
    from penstock_huggingface.shelf import LoadedModel

OPTIONS = frozenset(
    {
        "do_sample",
        "epsilon_cutoff",
        "eta_cutoff",
        "min_new_tokens",
        "min_p",
        "no_repeat_ngram_size",
        "repetition_penalty",
        "top_k",
        "typical_p",
    }
)
"""What `extra` may hold beside `chat_template_kwargs`, which goes to the chat template."""

_MISSING = (
    "logit_bias",
    "logprobs",
    "presence_penalty",
    "frequency_penalty",
    "schema",
    "reasoning_effort",
)


@dataclass(slots=True)
class Task:
    """
    One answer to be made.

    Args:
        inputs: tensors for the model.
        prompt_tokens: their number.
        max_new_tokens: the longest answer.
        options: further arguments of `generate`.
        stops: texts that end the answer and are not part of it.
        seed: of the dice, or None.
        tools: whether tool calls are looked for in the text.
        think_tags: whether a leading `<think>...</think>` is reasoning.
    """

    inputs: Any = field(repr=False)
    prompt_tokens: int
    max_new_tokens: int
    options: dict[str, Any]
    stops: tuple[str, ...] = ()
    seed: int | None = None
    tools: bool = False
    think_tags: bool = False


def refuse(request: ChatRequest, who: str) -> None:
    """Raise InvalidRequestError for what a local model cannot do."""
    for name in _MISSING:
        if getattr(request, name):
            raise InvalidRequestError(f"{who}: local models have no {name}; leave it out", param=name)
    if request.n is not None and request.n != 1:
        raise InvalidRequestError(f"{who}: a local model gives one answer; leave n out", param="n")
    if request.response_format is not None and request.response_format.get("type") != "text":
        raise InvalidRequestError(
            f"{who}: a local model cannot be held to a format; leave response_format out",
            param="response_format",
        )
    if request.tool_choice not in (None, "auto", "none"):
        raise InvalidRequestError(
            f"{who}: a local model cannot be made to call a tool; tool_choice may be 'auto' or 'none'",
            param="tool_choice",
        )
    for name in request.extra:
        if name not in OPTIONS and name != "chat_template_kwargs":
            raise InvalidRequestError(f"{who}: local models know no parameter {name!r}", param="extra")


def prepare(loaded: LoadedModel, request: ChatRequest, config: HuggingFaceConfig) -> Task:
    """
    Tokenise the prompt and check that it fits.

    Raises:
        InvalidRequestError: the messages cannot be written down, or the template refuses them.
        ContextLengthError: the window has no room for the prompt and one token.
    """
    tools = request.tools if request.tool_choice != "none" else ()
    inputs = _inputs(loaded, request, tools, config)
    length = int(inputs["input_ids"].shape[-1])
    wanted = request.max_tokens if request.max_tokens is not None else config.max_new_tokens
    if loaded.window is not None:
        if length >= loaded.window:
            raise ContextLengthError(
                f"the prompt has {length} tokens, the model's window {loaded.window}", param="messages"
            )
        wanted = min(wanted, loaded.window - length)
    options = {name: value for name, value in request.extra.items() if name in OPTIONS}
    if request.temperature is not None:
        options.setdefault("do_sample", request.temperature > 0)
        if request.temperature > 0:
            options["temperature"] = request.temperature
    if request.top_p is not None:
        options["top_p"] = request.top_p
    stops = request.stop or ()
    return Task(
        inputs=inputs.to(loaded.device),
        prompt_tokens=length,
        max_new_tokens=wanted,
        options=options,
        stops=tuple(filter(None, (stops,) if isinstance(stops, str) else stops)),
        seed=request.seed,
        tools=bool(tools),
        think_tags=config.think_tags,
    )


def _inputs(
    loaded: LoadedModel, request: ChatRequest, tools: Sequence[Any], config: HuggingFaceConfig
) -> Any:
    tokenizer = loaded.tokenizer
    with loaded.lock:
        if not getattr(tokenizer, "chat_template", None):
            if tools:
                raise InvalidRequestError(
                    "the model has no chat template, so no place for tools", param="tools"
                )
            return tokenizer(render(request.messages, config.prompt), return_tensors="pt")
        arguments = request.extra.get("chat_template_kwargs") or {}
        if not isinstance(arguments, Mapping):
            raise InvalidRequestError("extra['chat_template_kwargs'] must be a mapping", param="extra")
        messages = [_message(message, number) for number, message in enumerate(request.messages)]
        try:
            return tokenizer.apply_chat_template(
                messages,
                tools=[_tool(tool) for tool in tools] or None,
                add_generation_prompt=True,
                return_dict=True,
                return_tensors="pt",
                **arguments,
            )
        except Exception as error:
            # Templates raise what they like; the text is theirs ("roles must alternate").
            raise InvalidRequestError(f"the chat template refuses: {error}", param="messages") from None


def _message(message: Message, number: int) -> dict[str, Any]:
    role = "system" if message.role == "developer" else message.role
    if isinstance(message.content, tuple) and any(not hasattr(part, "text") for part in message.content):
        raise InvalidRequestError(f"messages[{number}]: local models take text only", param="messages")
    if message.tool_calls or message.role == "tool":
        text = plain_text(Message("user", message.content), number)
    else:
        text = plain_text(message, number)
    encoded: dict[str, Any] = {"role": role, "content": text}
    if message.name is not None:
        encoded["name"] = message.name
    if message.tool_call_id is not None:
        encoded["tool_call_id"] = message.tool_call_id
    if message.tool_calls:
        encoded["tool_calls"] = [
            {
                "type": "function",
                "id": call.id,
                "function": {"name": call.name, "arguments": _arguments(call)},
            }
            for call in message.tool_calls
        ]
    return encoded


def _arguments(call: Any) -> Any:
    try:
        return call.parsed()  # templates write them as JSON themselves
    except ValueError:
        return call.arguments


def _tool(tool: Any) -> Any:
    if not isinstance(tool, Tool):
        return dict(tool.payload)
    function = {
        "name": tool.name,
        "description": tool.description,
        "parameters": dict(tool.parameters) or {"type": "object", "properties": {}},
    }
    return {"type": "function", "function": function}
