"""
From messages to one prompt, for servers and models that take nothing else.

The formats are a table of data: what stands around a message of each role, and what opens the answer.
`plain` is for models that know no format: a single message of the user is sent as it is, a conversation as
lines that begin with the speaker. With a tokenizer its own chat template is used instead.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from penstock.errors import InvalidRequestError
from penstock.frozen import dataclass
from penstock.messages import Image, Message, Text

if TYPE_CHECKING:
    from penstock_huggingface.config import HuggingFaceConfig, PromptName

Prompt: TypeAlias = Callable[[Sequence[Message]], str]


@dataclass(frozen=True, slots=True)
class Format:
    """
    One way of writing a conversation.

    Args:
        system, user, assistant: what stands around the text of such a message; `{}` is the text.
        opening: what the model's answer follows.
        start: what the prompt begins with.
        folds_system: the format knows no system message: its text goes in front of the user's.
    """

    system: str
    user: str
    assistant: str
    opening: str
    start: str = ""
    folds_system: bool = False


_LLAMA = "<|start_header_id|>{role}<|end_header_id|>\n\n"

FORMATS: dict[PromptName, Format] = {
    "plain": Format("System: {}\n", "User: {}\n", "Assistant: {}\n", "Assistant:"),
    "chatml": Format(
        "<|im_start|>system\n{}<|im_end|>\n",
        "<|im_start|>user\n{}<|im_end|>\n",
        "<|im_start|>assistant\n{}<|im_end|>\n",
        "<|im_start|>assistant\n",
    ),
    "gemma": Format(
        "",
        "<start_of_turn>user\n{}<end_of_turn>\n",
        "<start_of_turn>model\n{}<end_of_turn>\n",
        "<start_of_turn>model\n",
        folds_system=True,
    ),
    "llama3": Format(
        _LLAMA.replace("{role}", "system") + "{}<|eot_id|>",
        _LLAMA.replace("{role}", "user") + "{}<|eot_id|>",
        _LLAMA.replace("{role}", "assistant") + "{}<|eot_id|>",
        _LLAMA.replace("{role}", "assistant"),
    ),
    "mistral": Format("", "[INST] {} [/INST]", " {}</s>", "", folds_system=True),
    "zephyr": Format(
        "<|system|>\n{}</s>\n", "<|user|>\n{}</s>\n", "<|assistant|>\n{}</s>\n", "<|assistant|>\n"
    ),
}


def render(messages: Sequence[Message], name: PromptName) -> str:
    """
    The prompt in one of the formats.

    Raises:
        InvalidRequestError: a message it cannot hold.
    """
    if name == "plain" and len(messages) == 1 and messages[0].role == "user":
        return plain_text(messages[0], 0)
    known = FORMATS[name]
    pieces = [known.start]
    folded = ""
    for number, message in enumerate(messages):
        text = plain_text(message, number)
        if message.role in ("system", "developer"):
            if known.folds_system:
                folded += f"{text}\n\n"
            else:
                pieces.append(known.system.replace("{}", text))
        elif message.role == "user":
            pieces.append(known.user.replace("{}", folded + text))
            folded = ""
        else:
            pieces.append(known.assistant.replace("{}", text))
    if folded:
        pieces.append(known.user.replace("{}", folded.rstrip()))
    return "".join((*pieces, known.opening))


def plain_text(message: Message, number: int) -> str:
    """
    The text of one message; images as TGI reads them in a prompt, in Markdown.

    Raises:
        InvalidRequestError: tools, or a part of another kind; names the place.
    """
    if message.tool_calls or message.role == "tool":
        raise InvalidRequestError(
            f"messages[{number}]: a prompt has no place for tool calls and their results; use api = 'chat'",
            param="messages",
        )
    content = message.content
    if content is None or isinstance(content, str):
        return content or ""
    pieces = []
    for place, part in enumerate(content):
        if isinstance(part, Text):
            pieces.append(part.text)
        elif isinstance(part, Image):
            pieces.append(f"![]({part.to_url()})")
        else:
            raise InvalidRequestError(
                f"messages[{number}].content[{place}]: a prompt takes text and images, "
                f"not {part.payload.get('type')!r}",
                param="messages",
            )
    return "".join(pieces)


def prompt_maker(config: HuggingFaceConfig, who: str) -> Prompt:
    """
    How an instance makes its prompts.

    Raises:
        ConfigError: a tokenizer is named and cannot be loaded.
    """
    if config.tokenizer is None:
        name = config.prompt
        return lambda messages: render(messages, name)
    from penstock_huggingface.templates import load_tokenizer, templated

    tokenizer: Any = load_tokenizer(config.tokenizer, who, download=config.download)
    return lambda messages: templated(tokenizer, messages)
