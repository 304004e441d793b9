"""
Turn what is written into what is meant: `${VAR}`, `file:` and the text of environment variables.

Only what stands in a configuration file (or a mapping passed as one) is interpolated; arguments and variables
mean exactly what they hold. Resolution happens when a section is used, so that a variable that an unused
provider needs may be missing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from penstock.config.shape import below, is_secret, takes_text
from penstock.config.tree import Node
from penstock.redaction import Redactor

_REFERENCE = re.compile(r"\$(?:(\$)|\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}|(\{))")


class Resolver:
    """
    Resolves one section.

    Attributes:
        problems: nodes that cannot be resolved, with the reason and whether a credential is missing.
        templates: nodes that were interpolated: what is shown of them is the text as it was written.
        hidden: masks every value that came through a variable or is secret, for this section's messages.
    """

    def __init__(self, environ: Mapping[str, str], redactor: Redactor) -> None:
        self._environ = environ
        self._redactor = redactor
        self.problems: list[tuple[Node, str, bool]] = []
        self.templates: list[Node] = []
        self.hidden = Redactor()

    def resolve(self, node: Node, kinds: tuple[Any, ...]) -> Any:
        """The plain value of a node that is meant for a field of one of `kinds`."""
        if node.text is not None:
            self.hidden.add(node.text)
            if takes_text(kinds, node.value):
                return self._secret(node, node.text) if is_secret(kinds) else node.text
        if isinstance(node.value, dict):
            return {key: self.resolve(inner, below(kinds, key)) for key, inner in node.value.items()}
        if isinstance(node.value, list):
            return [self.resolve(inner, below(kinds, index)) for index, inner in enumerate(node.value)]
        value, secret = node.value, is_secret(kinds)
        if isinstance(value, str) and "$" in value and node.origin.kind in ("file", "profile"):
            value = self._interpolate(node, value, secret)
        if secret:
            return self._secret(node, value)
        return value

    def _interpolate(self, node: Node, text: str, secret: bool) -> str:
        def substitute(match: re.Match[str]) -> str:
            dollar, name, default, broken = match.groups()
            if dollar:
                return "$"
            if broken:
                self._fail(node, "a ${ is not closed or names no variable; write $$ for a plain $")
                return ""
            value = self._environ.get(name)
            if value is None or (not value and default is not None):
                if default is None:
                    self._fail(node, f"the environment variable {name} is not set", secret)
                return default or ""
            self.hidden.add(value)
            return value

        result = _REFERENCE.sub(substitute, text)
        if result != text:
            self.templates.append(node)
            self.hidden.add(result)
        return result

    def _secret(self, node: Node, value: Any) -> Any:
        if isinstance(value, str):
            if value.startswith("file:"):
                value = self._read(node, value.removeprefix("file:"))
            else:
                value = value.rstrip("\r\n")  # a newline breaks the header, and the error would quote it
        exact = value.get_secret_value() if isinstance(value, SecretStr) else value
        if isinstance(exact, str):
            self._redactor.add(exact)
            self.hidden.add(exact)
        return value

    def _read(self, node: Node, path: str) -> str:
        try:
            return Path(path).expanduser().read_text(encoding="utf-8").rstrip()
        except UnicodeDecodeError:
            self._fail(node, f"the secret file {path} is not UTF-8 text", True)
        except (OSError, ValueError, RuntimeError) as error:
            reason = getattr(error, "strerror", None) or "no such path"
            self._fail(node, f"the secret file {path} cannot be read: {reason}", True)
        return ""

    def _fail(self, node: Node, message: str, credential: bool = False) -> None:
        self.problems.append((node, message, credential))
