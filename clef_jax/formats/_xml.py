"""Parses XML files of recordings, and finds out which format a file has by its root."""

import re
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError

from clef_jax.finding import Defect

_MAX_FILE_BYTES = 256 << 20
"""Largest accepted file, because it is in memory; a day of 12 leads is smaller."""
_HEAD_BYTES = 1 << 20
"""Largest accepted size of what precedes the root, such as the comment of a licence."""
_WIDE_BYTES = 4096
"""Size of the beginning that has zeros if characters take two or four bytes."""
_ENCODING_ERRORS = (4, 18, 19)
"""Codes of expat: invalid token, unknown encoding, and an encoding that contradicts the bytes."""
_BEFORE_ROOT = re.compile(
    rb"\s*(?:<!--.*?-->|<\?.*?\?>|<!DOCTYPE[^\[>]*(?:\[.*?\]\s*)?>)", re.DOTALL
)
_ROOT = re.compile(rb"\s*<(?:[\w.-]+:)?([\w.-]+)")


def root_name(path: Path) -> str:
    """Returns the name of a document's root without its prefix; an empty text if it has none.

    Only the beginning of the file is read.
    """
    with path.open("rb") as stream:
        head = stream.read(_HEAD_BYTES)
    head = head.replace(b"\0", b"").lstrip(b"\xef\xbb\xbf\xff\xfe")  # also in UTF-16
    position = 0
    while before := _BEFORE_ROOT.match(head, position):
        position = before.end()
    root = _ROOT.match(head, position)
    return root[1].decode("ascii", "replace") if root else ""


def parse(path: Path, *, may_name_type: bool = False) -> Element:
    """Returns the root of a document.

    Args:
        path: the file.
        may_name_type: whether the document may name its type, as those of GE MUSE do. Entities,
            which could expand to any size or read other files, are never accepted.

    Raises:
        Defect: the document is too large, malformed, truncated or hostile.
    """
    # A hundredth of a second to import; only XML files need it.
    from defusedxml.common import DefusedXmlException

    if path.stat().st_size > _MAX_FILE_BYTES:
        raise Defect("too_large", f"{path.name} exceeds 256 MiB, the largest size of an XML file.")
    try:
        return _parse(path, may_name_type)
    except DefusedXmlException:
        detail = f"{path.name} declares types or entities, which are not read."
        raise Defect("unreadable", detail) from None
    except (ParseError, LookupError, ValueError) as error:  # the last two for encodings
        position = getattr(error, "position", None)
        where = f" in line {position[0]}" if position else ""
        raise Defect("unreadable", f"{path.name} is malformed or truncated{where}.") from None


def _parse(path: Path, may_name_type: bool) -> Element:
    """Returns the root. A document whose encoding is unknown, or another than the one that it
    states, is read as Latin-1: digits and the names of elements are the same, and only letters
    with accents in comments and names may be wrong.
    """
    from defusedxml import ElementTree
    from defusedxml.common import DefusedXmlException

    try:
        root = ElementTree.parse(path, forbid_dtd=not may_name_type).getroot()
    except DefusedXmlException:
        raise
    except (ParseError, LookupError, ValueError) as error:
        with path.open("rb") as stream:
            is_wide = b"\0" in stream.read(_WIDE_BYTES)
        if is_wide or (isinstance(error, ParseError) and error.code not in _ENCODING_ERRORS):
            raise
        parser = ElementTree.XMLParser(encoding="iso-8859-1", forbid_dtd=not may_name_type)
        root = ElementTree.parse(path, parser).getroot()
    assert root is not None
    return root
