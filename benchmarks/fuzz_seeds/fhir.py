"""Small whole Observations of HL7 FHIR, written from the specification of SampledData."""

import json
from collections.abc import Iterable
from typing import Any
from xml.sax.saxutils import quoteattr

import numpy as np

from fuzz_seeds import ADC, Seed

SYSTEM = "urn:oid:2.16.840.1.113883.6.24"
LEADS = {"I": 131329, "II": 131330, "III": 131389, "aVR": 131390, "V1": 131331, "V6": 131336}


def concept(*codes: tuple[object, str], text: str = "") -> dict[str, Any]:
    """Returns a CodeableConcept of codes with their displays."""
    codings = [{"system": SYSTEM, "code": str(code), "display": shown} for code, shown in codes]
    return {"coding": codings, **({"text": text} if text else {})}


def sampled(data: Iterable[object], *, origin: float = 0, unit: str = "uV", **more: Any) -> dict:
    """Returns SampledData; fields that are None are left out."""
    start = {"value": origin, "unit": unit, "code": unit}
    fields = {"origin": start, "period": 2, "dimensions": 1, "data": " ".join(map(str, data))}
    fields |= more
    return {key: value for key, value in fields.items() if value is not None}


def component(lead: str, data: Iterable[object], **more: Any) -> dict[str, Any]:
    """Returns a component of an Observation with one lead."""
    code = concept((LEADS[lead], f"MDC ECG LEAD {lead.upper()}"))
    return {"code": code, "valueSampledData": sampled(data, **more)}


def observation(*components: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Returns an Observation of an ECG."""
    return {
        "resourceType": "Observation",
        "status": "final",
        "code": concept((131328, "MDC ECG ELECTRICAL POTENTIAL")),
        "effectiveDateTime": "2015-02-19T09:30:35+01:00",
        "component": list(components),
        **more,
    }


def bundle(*resources: dict[str, Any]) -> dict[str, Any]:
    """Returns a Bundle of resources."""
    entries = [{"fullUrl": f"urn:uuid:{n}", "resource": item} for n, item in enumerate(resources)]
    return {"resourceType": "Bundle", "type": "collection", "entry": entries}


def to_xml(resource: dict[str, Any]) -> str:
    """Returns a resource in XML, whose values are attributes."""

    def element(name: str, value: Any) -> str:
        if isinstance(value, list):
            return "".join(element(name, item) for item in value)
        if not isinstance(value, dict):
            return f"<{name} value={quoteattr(str(value))}/>"
        fields = "".join(element(k, v) for k, v in value.items() if k != "resourceType")
        kind = value.get("resourceType")
        inside = f"<{kind}>{fields}</{kind}>" if kind else fields
        return f"<{name}>{inside}</{name}>"

    kind = resource["resourceType"]
    text = element(kind, {k: v for k, v in resource.items() if k != "resourceType"})
    text = text.replace(f"<{kind}>", f'<{kind} xmlns="http://hl7.org/fhir">', 1)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}'


def seeds() -> list[Seed]:
    """Returns whole recordings."""
    values = np.round(ADC).astype(int).tolist()
    gaps = [*values[:10], "E", "U", "L", *values[13:]]
    patient = {"resourceType": "Patient", "id": "p", "gender": "male", "birthDate": "1950-01-01"}
    subject = {"reference": "Patient/p"}
    twelve = observation(component("I", values), component("II", gaps, origin=3, factor=1.5))
    newer = {"period": None, "interval": 4, "intervalUnit": "ms"}
    single = observation(subject=subject, component=[])
    single["valueSampledData"] = sampled(values, **newer)
    offsets = " ".join(str(2 * n) for n in range(len(values)))
    other = observation(component("V1", values, period=None, offsets=offsets), subject=subject)
    lines = "\n".join(map(json.dumps, (patient, twelve, other)))
    return [
        Seed("x.json", {"x.json": json.dumps(twelve, indent=1).encode()}),
        Seed("x.json", {"x.json": json.dumps(bundle(patient, single, other)).encode()}),
        Seed("x.ndjson", {"x.ndjson": lines.encode()}),
        Seed("x.xml", {"x.xml": to_xml(bundle(patient, single, twelve)).encode()}),
    ]
