"""Small whole exports of Apple Health, as phones in several languages write them."""

from collections.abc import Iterable

from fuzz_seeds import ADC, Seed

LANGUAGES = {
    "en": (
        ("Name", "Date of Birth", "Recorded Date", "Classification", "Symptoms"),
        ("Software Version", "Device", "Sample Rate", "hertz", "Lead", "Lead I", "Unit"),
    ),
    "de": (
        ("Name", "Geburtsdatum", "Aufzeichnungsdatum", "Klassifizierung", "Symptome"),
        ("Softwareversion", "Gerät", "Messrate", "Hertz", "Ableitung", "Ableitung I", "Einheit"),
    ),
    "fr": (
        ("Nom", "Date de naissance", "Date d\u2019enregistrement", "Classification", "Symptômes"),
        (
            "Version",
            "Appareil",
            "Échantillonnage",
            "hertz",
            "Dérivation",
            "Dérivation I",
            "Unité",
        ),
    ),
    "es": (
        ("Nombre", "Fecha de nacimiento", "Fecha de registro", "Clasificación", "Síntomas"),
        ("Versión", "Dispositivo", "Frecuencia", "hercios", "Derivación", "Derivación I", "Unidad"),
    ),
    "it": (
        ("Nome", "Data di nascita", "Data di registrazione", "Classificazione", "Sintomi"),
        (
            "Versione",
            "Dispositivo",
            "Campionamento",
            "hertz",
            "Derivazione",
            "Derivazione I",
            "Unità",
        ),
    ),
    "nl": (
        ("Naam", "Geboortedatum", "Datum van opname", "Classificatie", "Symptomen"),
        (
            "Softwareversie",
            "Apparaat",
            "Meetsnelheid",
            "hertz",
            "Afleiding",
            "Afleiding I",
            "Eenheid",
        ),
    ),
    "pt": (
        ("Nome", "Data de nascimento", "Data de gravação", "Classificação", "Sintomas"),
        ("Versão", "Dispositivo", "Amostragem", "hertz", "Derivação", "Derivação I", "Unidade"),
    ),
    "sv": (
        ("Namn", "Födelsedatum", "Inspelningsdatum", "Klassificering", "Symtom"),
        ("Version", "Enhet", "Samplingsfrekvens", "hertz", "Avledning", "Avledning I", "Enhet"),
    ),
    "ja": (
        ("名前", "生年月日", "記録日", "分類", "症状"),
        (
            "ソフトウェアバージョン",
            "デバイス",
            "サンプルレート",
            "ヘルツ",
            "誘導",
            "第I誘導",
            "単位",
        ),
    ),
}
"""Names of the fields, and in the second list also the words of their values."""


def export(
    samples: Iterable[float],
    language: str = "en",
    *,
    decimal: str = ".",
    born: str = '"Feb 5, 1952"',
    rate: str = "512",
    quoted: bool = False,
    newline: str = "\n",
    late: str = "",
) -> str:
    """Returns the text of a file.

    Args:
        late: lines between the unit and the samples.
    """
    (name, birth, date, kind, symptoms), (version, device, hz, word, lead, first, unit) = LANGUAGES[
        language
    ]
    rate = f'"{rate} {word}"' if "," in rate else f"{rate} {word}"
    lines = [f"{name},Jane Doe", f"{birth},{born}", f"{date},2020-02-05 09:14:40 +0100"]
    lines += [f"{kind},Sinus", f"{symptoms},", f"{version},1.90", f'{device},"Watch6,2"']
    lines += [f"{hz},{rate}", "", "", f"{lead},{first}", f"{unit},µV", *filter(None, [late]), ""]
    texts = [f"{value:.3f}".replace(".", decimal) for value in samples]
    lines += [f'"{text}"' for text in texts] if quoted else texts
    return newline.join(lines) + newline


def seeds() -> list[Seed]:
    """Returns whole recordings."""
    samples = ADC.tolist()
    texts = [
        export(samples),
        export(samples, "de", decimal=",", born="05.02.1952", rate="512,209", newline="\r\n"),
        export(samples, "fr", decimal=",", quoted=True, born="5 févr. 1952"),
    ]
    return [Seed("x.csv", {"x.csv": text.encode("utf-8")}) for text in texts]
