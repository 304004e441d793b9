"""
Run uv with pip's configuration: `python tools/uv.py pip install ...`.

uv does not read pip's settings, so where pip is pointed at another index, uv would still ask its own default.
This hands the settings over as environment variables; what is set for uv already stays. It leaves with uv's
exit status, so that the Makefile can fall back to pip.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

VARIABLES = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "trusted-host": "UV_INSECURE_HOST",
    "cert": "SSL_CERT_FILE",
    "proxy": "ALL_PROXY",
}
# From weak to strong, as pip ranks them: files for all commands, files for `install`, the environment.
SECTIONS = ("global", "install", ":env:")


def pip_settings() -> dict[str, str]:
    """Pip's own settings by name, from its files and its environment variables."""
    listing = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
    )
    found: dict[str, dict[str, str]] = {section: {} for section in SECTIONS}
    for line in listing.stdout.splitlines():
        key, equals, value = line.partition("=")
        section, _, name = key.rpartition(".")
        if equals and section in found:
            found[section][name] = ast.literal_eval(value)
    return {name: value for section in SECTIONS for name, value in found[section].items()}


def environment() -> dict[str, str]:
    """This process's environment, with what uv needs to see the packages that pip sees."""
    settings = pip_settings()
    given = {VARIABLES[name]: " ".join(settings[name].split()) for name in VARIABLES if name in settings}
    # uv separates places to look by commas, and stops at the first index that knows a name; pip asks all.
    if "UV_FIND_LINKS" in given:
        given["UV_FIND_LINKS"] = given["UV_FIND_LINKS"].replace(" ", ",")
    if "UV_INDEX" in given:
        given["UV_INDEX_STRATEGY"] = "unsafe-best-match"
    # The environment belongs to the interpreter that runs this, and it is the only one to use.
    fixed = {"VIRTUAL_ENV": sys.prefix, "UV_PYTHON_DOWNLOADS": "never"}
    return {**given, **os.environ, **fixed}


def main() -> int:
    """Run uv with the arguments of this command; its exit status."""
    uv = Path(sys.executable).with_name("uv")
    if not uv.exists():
        print("uv is not installed here", file=sys.stderr)
        return 127
    return subprocess.run([uv, *sys.argv[1:]], env=environment(), check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
