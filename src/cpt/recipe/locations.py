"""What a path or URL in a recipe may look like. Nothing is opened here."""

from __future__ import annotations

import re
import unicodedata

from cpt.errors import Fault

SCHEMES = ("file", "s3", "gs", "az", "hf")
USERINFO = re.compile(r"(?<=://)[^/]*@")
CREDENTIALS = "Give credentials by the usual environment (AWS_PROFILE, AWS_ACCESS_KEY_ID, ...)"


def location_fault(where: str, text: str) -> Fault | None:
    """What is wrong with the location `text` at the key `where`; None if nothing is.

    A location is a local path or glob, a name, or a URL of a known scheme. Chains of file systems (`::`), credentials and control
    characters have no place in one.
    """
    scheme, host = _scheme(text), text.partition("://")[2].partition("/")[0]
    hidden = any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in text)
    checks = (
        (not text.strip(), "must name a path or URL", f"Give {where}=PATH or URL"),
        (hidden, "must not hold control characters or broken UTF-8", "Rename the file"),
        ("::" in text, "chained URLs (::) are refused", "Name the inner file itself, unpacked"),
        (scheme not in (None, *SCHEMES), f"scheme {scheme!r} is refused", f"Use a path, or a URL of {', '.join(SCHEMES)}"),
        ("@" in host, "must not hold a user name or password", CREDENTIALS),
        (scheme == "file" and host, "file:// names a path of this machine", "Write file:///PATH, or the path alone"),
        (scheme not in (None, "file") and not host, "names no bucket", f"Write {scheme}://BUCKET/PATH"),
    )
    value = USERINFO.sub("***@", text)
    return next((Fault(where, value, rule, cure) for wrong, rule, cure in checks if wrong), None)


def _scheme(text: str) -> str | None:
    """The scheme as fsspec takes it: all before `://`, and the bare `data:`."""
    before, separator, _ = text.partition("://")
    if separator:
        return before
    return "data" if text.lower().startswith("data:") else None
