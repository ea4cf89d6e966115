"""The colours of all pages and figures, in the only place that names any.

Pages use them as CSS variables, so that a dark page and a printed one have the same figures.
"""

PAPER = "#ffffff"
INK, ACCENT, SOFT = "#1b263b", "#b3101d", "#8d99ae"
"""Colours of figures that are drawn as pictures: text and lines, what stands out, what does not."""
ECG_COARSE, ECG_FINE = "#e9a6a6", "#f7dede"
"""Large and small squares of ECG paper."""

_LIGHT = {
    "paper": PAPER,
    "raised": "#f4f6fa",
    "ink": INK,
    "quiet": "#56607a",
    "rule": "#d5dbe6",
    "accent": ACCENT,
    "link": "#0b56a8",
    "best": "#e3f1e7",
    "ecg-coarse": ECG_COARSE,
    "ecg-fine": ECG_FINE,
}
_DARK = {
    "paper": "#14181f",
    "raised": "#1e242e",
    "ink": "#e6eaf2",
    "quiet": "#a7b0c2",
    "rule": "#3a4353",
    "accent": "#ff8f88",
    "link": "#7db8ff",
    "best": "#1d3a2a",
    "ecg-coarse": "#6b3a40",
    "ecg-fine": "#382429",
}
_LIGHT_SERIES = ("#0b56a8", "#b3101d", "#1a7a4c", "#a4570a", "#6a3fa0", "#00737f", "#a02a72")
_DARK_SERIES = ("#7db8ff", "#ff8f88", "#63d39f", "#f0b05e", "#c6a6f5", "#5fd0dc", "#f29acb")
"""Colours of the same series in light and dark; each has a contrast of at least 4.5 to its paper
and can be told from its neighbours by readers who do not see red and green."""
_LIGHT_SCALE = ("#46327e", "#365c8d", "#277f8e", "#1a9a72", "#6a8d12")
_DARK_SCALE = ("#8a78d6", "#6f9fd8", "#4fc0cf", "#5fd39a", "#d9e45a")
"""Colours of a quantity from low to high."""

NUM_SERIES, NUM_STEPS = len(_LIGHT_SERIES), len(_LIGHT_SCALE)


def style() -> str:
    """Returns the CSS of the variables: light, dark where the reader's system is, light in print.

    The variables are --NAME for each name above, --series-N and --scale-N.
    """
    light = _variables(_LIGHT, _LIGHT_SERIES, _LIGHT_SCALE)
    dark = _variables(_DARK, _DARK_SERIES, _DARK_SCALE)
    rules = [
        f":root{{color-scheme:light dark;{light}}}",
        f"@media screen and (prefers-color-scheme:dark){{:root{{{dark}}}}}",
    ]
    for name, count in (("series", NUM_SERIES), ("scale", NUM_STEPS)):
        rules += [f".{name}-{n}{{--own:var(--{name}-{n})}}" for n in range(count)]
    return "\n".join(rules)


def _variables(named: dict[str, str], series: tuple[str, ...], scale: tuple[str, ...]) -> str:
    values = {
        **named,
        **{f"series-{n}": value for n, value in enumerate(series)},
        **{f"scale-{n}": value for n, value in enumerate(scale)},
    }
    return "".join(f"--{name}:{value};" for name, value in values.items())
