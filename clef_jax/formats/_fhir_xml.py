"""Turns resources of HL7 FHIR in XML into the objects that they are in JSON."""

from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

from clef_jax.formats import _xml

_ROOTS = ("Observation", "Bundle", "DiagnosticReport")
_LISTS = ("component", "coding", "entry", "contained")
"""Elements that may be repeated and are read; of others the first counts."""
_MAX_DEPTH = 24
_PIECE_BYTES = 1 << 20


def looks_like(path: Path) -> bool:
    """Returns whether the root is a resource that may hold ECGs, and the file has samples."""
    if _xml.root_name(path) not in _ROOTS:
        return False
    tail = b""
    with path.open("rb") as stream:
        while piece := stream.read(_PIECE_BYTES):
            text = tail + piece.replace(b"\0", b"")  # also in UTF-16
            if b"SampledData" in text:
                return True
            tail = text[-20:]
    return False


def parse(path: Path) -> dict[str, Any]:
    """Returns the resource of a file.

    Raises:
        Defect: the file is malformed, truncated, hostile or too large.
    """
    return _resource(_xml.parse(path), 0)


def _resource(element: Element, depth: int) -> dict[str, Any]:
    value = _value(element, depth)
    return {**(value if isinstance(value, dict) else {}), "resourceType": _name(element)}


def _name(element: Element) -> str:
    return str(element.tag).rpartition("}")[2]


def _value(element: Element, depth: int) -> Any:
    if not len(element) or depth > _MAX_DEPTH:
        return element.get("value", "")
    value: dict[str, Any] = {}
    for child in element:
        name = _name(child)
        if name in ("resource", "contained") and len(child):
            item = _resource(child[0], depth + 2)
        else:
            item = _value(child, depth + 1)
        if name in _LISTS:
            value.setdefault(name, []).append(item)
        else:
            value.setdefault(name, item)
    return value
