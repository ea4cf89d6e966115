"""Small whole HL7 annotated ECG files."""

from fuzz_seeds import ADC, Seed


def seeds() -> list[Seed]:
    """Returns whole recordings."""
    digits = " ".join(f"{value:.0f}" for value in ADC)
    lead = (
        '<component><sequence><code code="MDC_ECG_LEAD_{}"/><value xsi:type="SLIST_PQ">'
        '<origin value="0" unit="uV"/><scale value="5" unit="uV"/>'
        f"<digits>{digits}</digits></value></sequence></component>"
    )
    time = (
        '<component><sequence><code code="TIME_ABSOLUTE"/><value xsi:type="GLIST_TS">'
        '<head value="20260101"/><increment value="0.002" unit="s"/>'
        "</value></sequence></component>"
    )
    text = (
        '<?xml version="1.0" encoding="{}"?><AnnotatedECG xmlns="urn:hl7-org:v3" '
        'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><component><series><component>'
        f"<sequenceSet>{time}{lead.format('I')}{lead.format('AVR')}</sequenceSet>"
        "</component></series></component></AnnotatedECG>"
    )
    encodings = ("utf-8", "utf-16")
    return [Seed("x.xml", {"x.xml": text.replace("{}", e).encode(e)}) for e in encodings]
