"""
Make foreign text safe for a place: a file's name, an HTML page.

Both lean on libraries that do nothing else, installed as extras and imported when first used.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from penstock.errors import ConfigError


def safe_filename(text: str, *, default: str = "file", max_length: int = 200) -> str:
    """
    A name a file can have on every system: no path, no reserved name, no control characters.

    Args:
        text: such as a title a model made up.
        default: the name when nothing of the text remains.
        max_length: bytes in UTF-8.

    Raises:
        ConfigError: pathvalidate is not installed.
    """
    try:
        from pathvalidate import sanitize_filename
    except ImportError:
        raise ConfigError("safe_filename needs: pip install 'penstock-guard[filenames]'") from None
    # Separators become spaces first, so that the parts of a path stay apart.
    plain = " ".join(text.replace("/", " ").replace("\\", " ").split())
    name = str(sanitize_filename(plain, platform="universal", max_len=max_length)).strip(" .")
    while len(name.encode("utf-8", "replace")) > max_length:
        name = name[:-1]
    return name or default


def safe_html(
    text: str,
    *,
    tags: Iterable[str] | None = None,
    attributes: Mapping[str, Iterable[str]] | None = None,
) -> str:
    """
    HTML without anything that runs: scripts, event attributes, foreign schemes, unknown tags.

    Args:
        text: such as an answer rendered from Markdown.
        tags: those that may stay; None for the library's own careful list.
        attributes: by tag, those that may stay; None likewise.

    Raises:
        ConfigError: nh3 is not installed.
    """
    try:
        import nh3
    except ImportError:
        raise ConfigError("safe_html needs: pip install 'penstock-guard[html]'") from None
    return nh3.clean(
        text,
        tags=None if tags is None else set(tags),
        attributes=None if attributes is None else {tag: set(names) for tag, names in attributes.items()},
        url_schemes={"http", "https", "mailto"},
    )
