"""
The chat template that comes with a tokenizer, through transformers.

Importing transformers takes seconds, so it happens when a tokenizer is loaded, not before.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from penstock.errors import ConfigError, InvalidRequestError
from penstock_huggingface.prompts import plain_text

if TYPE_CHECKING:
    from penstock.messages import Message


def require(who: str, *packages: str) -> None:
    """Check that packages are there without importing them; raises ConfigError that says what to install."""
    missing = [package for package in packages if find_spec(package) is None]
    if missing:
        raise ConfigError(
            f"provider {who!r} needs {' and '.join(missing)}: pip install penstock-huggingface[local]"
        )


def load_tokenizer(name: str, who: str, *, download: bool) -> Any:
    """
    A tokenizer with a chat template.

    Args:
        name: its folder, or its name on the Hub.
        who: the provider, for messages.
        download: fetch it from the Hub when it is not on this machine.

    Raises:
        ConfigError: transformers is not installed, there is no such tokenizer, or it has no template.
    """
    require(who, "transformers")
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(
            name, local_files_only=not download, trust_remote_code=False
        )
    except (OSError, ValueError):
        # Their texts run over many lines and name caches and tokens.
        fetched = "" if download else " on this machine; download = true fetches it"
        raise ConfigError(f"provider {who!r}: there is no tokenizer {name!r}{fetched}") from None
    if not getattr(tokenizer, "chat_template", None):
        raise ConfigError(
            f"provider {who!r}: the tokenizer {name!r} has no chat template; use prompt instead"
        )
    return tokenizer


def templated(tokenizer: Any, messages: Sequence[Message]) -> str:
    """The prompt by the tokenizer's template; raises InvalidRequestError when the template refuses."""
    plain = [
        {"role": message.role, "content": plain_text(message, number)}
        for number, message in enumerate(messages)
    ]
    try:
        return str(tokenizer.apply_chat_template(plain, add_generation_prompt=True, tokenize=False))
    except Exception as error:
        # Templates raise what they like; the text is theirs ("roles must alternate").
        raise InvalidRequestError(f"the chat template refuses: {error}", param="messages") from None
