"""
Where a configuration comes from: a file that is found or named, and the profile in it.

The order of search: what the caller passes, `PENSTOCK_CONFIG`, `penstock.toml` in the working directory and
the folders above it, then in the user's config folder.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from penstock.config import lines
from penstock.config.tree import Kind, Node, Origin, find, grow, merge, written
from penstock.errors import ConfigError

FILE = "penstock.toml"


def read_source(source: object, environ: Mapping[str, str], start: Path) -> tuple[Node, str]:
    """
    The configuration that `source` means, and what to call it ("" when there is none).

    Raises:
        ConfigError: a file that was named does not exist, cannot be read or is not TOML.
    """
    if source is None and (named := environ.get("PENSTOCK_CONFIG")):
        source = named
    if isinstance(source, Mapping):
        return _document(source, {}, "argument config"), "argument config"
    if isinstance(source, str | os.PathLike):
        return _read(Path(source).expanduser(), str(source)), str(source)
    if source is not None and source is not False:
        raise ConfigError(
            "config must be a path, a mapping, None (search for penstock.toml) or False (no file)"
        )
    path = _search(environ, start) if source is None else None
    if path is None:
        return _document({}, {}, ""), ""
    name = str(path.relative_to(start)) if path.is_relative_to(start) else str(path)
    return _read(path, name), name


def _search(environ: Mapping[str, str], start: Path) -> Path | None:
    folders = [start, *start.parents]
    user = environ.get("XDG_CONFIG_HOME", "")
    home = environ.get("HOME") or environ.get("USERPROFILE")
    if Path(user).is_absolute():
        folders.append(Path(user, "penstock"))
    elif home:
        folders.append(Path(home, ".config", "penstock"))
    return next((folder / FILE for folder in folders if (folder / FILE).is_file()), None)


def _read(path: Path, name: str) -> Node:
    problem = ""
    try:
        text = path.read_bytes().decode("utf-8-sig")
        values = tomllib.loads(text)
        return _document(values, lines.key_lines(text), name)
    except OSError as error:
        problem = f"cannot read the configuration file {name}: {error.strerror}"
    except UnicodeDecodeError as error:
        problem = f"{name}: is not UTF-8 (byte {error.start})"
    except RecursionError:
        problem = f"{name}: is nested too deeply"
    except ValueError as error:
        problem = _locate(name, str(error))
    raise ConfigError(problem)


def _locate(name: str, message: str) -> str:
    """tomllib says `... (at line 3, column 5)`; people and editors want `penstock.toml:3: ...`."""
    message, _, place = message.partition(" (at ")
    line = re.match(r"line (\d+)", place)
    return f"{name}:{line[1]}: {message}" if line else f"{name}: {message}"


def _document(values: Mapping[str, Any], places: dict[lines.Path, int], name: str) -> Node:
    def origin(path: lines.Path) -> Origin:
        line = places.get(path)
        kind: Kind = "profile" if path[:1] == ("profiles",) else "file"
        return Origin(kind, f"{name}:{line}" if line else name)

    return grow(values, origin)


def choose_profile(
    document: Node, named: str | None, ambient: str | None, path: str
) -> tuple[Node, str | None]:
    """
    The document with its profile laid over it, and the profile's name.

    Args:
        document: the whole file; its `profiles` table is left out of the result.
        named: the profile the caller asked for.
        ambient: what `PENSTOCK_ENV` holds; it counts only where there are profiles.
        path: what to call the file.

    Raises:
        ConfigError: there is no such profile; the message lists those there are.
    """
    profiles = find(document, ("profiles",))
    known = profiles.value if profiles is not None else {}
    for table in (profiles, *(known.values() if isinstance(known, dict) else ())):
        if table is not None and not isinstance(table.value, dict):
            raise ConfigError(f"{table.origin.place}: {written(table.path)}: must be a table")
    base = Node({key: node for key, node in document.value.items() if key != "profiles"}, document.origin, ())
    name = named or (ambient if profiles is not None else None)
    if not name:
        return base, None
    if name not in known:
        listed = f"known are {', '.join(map(repr, known))}" if known else "it has no profiles"
        says = "" if named else ", which PENSTOCK_ENV names"
        raise ConfigError(f"{path or 'the configuration'}: there is no profile {name!r}{says}; {listed}")
    return merge(base, known[name]) or base, name
