"""Heads on an encoder's features, and how a model folder stores them.

The arrays are in `head.safetensors`; names, layer, kind and other facts are the object "head" of
`config.json`.

Shapes: K outputs, D features that the head reads, Q queries, M knots of an isotonic calibration.
"""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from clef_jax.convert import safetensors_file
from clef_jax.embedding import config_file
from clef_jax.embedding.config_file import CONFIG
from clef_jax.errors import UserError, counted

KINDS = ("binary", "multiclass", "multilabel", "regression")
TEMPERATURE, PLATT, ISOTONIC = CALIBRATIONS = ("temperature", "platt", "isotonic")
"""Kinds of calibration."""
EMBEDDING, CLASSICAL = FEATURES = ("embedding", "classical")
"""Groups of features that a head may read, in this order: those of its layer, and those of the
baseline `classical`."""

ARRAYS = "head.safetensors"
OLD_CLASSIFIER = "classifier.safetensors"
"""File of older model folders, whose heads have no names: `dense.weight` and `dense.bias`."""

_ENTRY = "head"
_ARRAYS = ("weight", "bias", "centre", "scale")
_QUERY = "query"
_OPTIONAL = ("threshold", "prevalence", "half_width")
ARRAY_FIELDS = (*_ARRAYS, *_OPTIONAL, _QUERY)
"""Fields of a head that are arrays."""
_CALIBRATION = "calibration."
"""Prefix of the names of a calibration's arrays in the file."""
_OLD_WEIGHT, _OLD_BIAS = "dense.weight", "dense.bias"


class Calibration(NamedTuple):
    """Maps the logits of a classifier to calibrated probabilities.

    `temperature` and `platt` replace the logits by `slope * logits + intercept`; a temperature T is
    the slope 1 / T with the intercept 0. `isotonic` interpolates the probability of a binary or
    multilabel output between the knots.
    """

    kind: str
    """One of `CALIBRATIONS`."""
    slope: np.ndarray | None = None
    """Factor of each output's logit, [K]; None if isotonic."""
    intercept: np.ndarray | None = None
    """Addend of each output's logit, [K]; None if isotonic."""
    knot_logits: np.ndarray | None = None
    """Logits of the knots of each output, ascending, [K, M]; only if isotonic."""
    knot_probabilities: np.ndarray | None = None
    """Probabilities at the knots of each output, ascending, [K, M]; only if isotonic."""

    def arrays(self) -> dict[str, np.ndarray]:
        """Returns the arrays that are set, by name."""
        named = self._asdict()
        return {name: named[name] for name in self._fields[1:] if named[name] is not None}


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Head:
    """Maps the features of a layer to outputs.

    `logits = features @ weight.T + bias`. An output is `sigmoid(logits)` of a binary or multilabel
    head, `softmax(logits)` of a multiclass one, and `logits * scale + centre` of a regression. A
    calibration changes the logits, or replaces the sigmoid; see `Calibration`.
    """

    weight: np.ndarray
    """Weight of each feature for each output, [K, D]. D is the layer's number of features, and that
    of the classical features in addition if `features` names them."""
    bias: np.ndarray
    """Bias of each output, [K]."""
    names: tuple[str, ...]
    """Name of each output."""
    layer: str
    """Layer of the encoder whose features it reads."""
    kind: str
    """One of `KINDS`."""
    centre: np.ndarray
    """Offset added to each output, [K]; 0 except in a regression."""
    scale: np.ndarray
    """Factor applied to each output, [K]; 1 except in a regression."""
    calibration: Calibration | None = None
    """Calibration of the probabilities; None if they are not calibrated."""
    threshold: np.ndarray | None = None
    """Lowest probability at which each output of a binary or multilabel head is positive, [K]; None
    if no thresholds were chosen."""
    prevalence: np.ndarray | None = None
    """Fraction of positives of each output that the probabilities assume, [K]; None if unknown."""
    half_width: np.ndarray | None = None
    """Half the width of the interval around each value of a regression, [K], in the unit of the
    value; None without intervals."""
    coverage: float | None = None
    """Fraction of patients whose true value the interval holds."""
    features: tuple[str, ...] = (EMBEDDING,)
    """Groups of features that it reads, side by side, out of `FEATURES`."""
    query: np.ndarray | None = None
    """Queries of an attention head, [Q, D]: it reads the time steps of its layer, pooled as
    `embedding.attention_pooling` describes, instead of their mean; None if it reads the mean."""
    fitted: Mapping[str, Any] | None = None
    """Facts about the labelled recordings that it was fitted to, without any value of a single
    patient, such as numbers of recordings and patients; None if unknown. JSON types only."""

    @property
    def is_linear(self) -> bool:
        """Whether it is a linear map of the features that `embed` returns. Other heads also read
        time steps, or rhythm and spectrum, and cannot be exported with the encoder."""
        return self.query is None and self.features == (EMBEDDING,)

    @classmethod
    def of_classes(
        cls, weight: np.ndarray, bias: np.ndarray, *, layer: str, kind: str = "multilabel"
    ) -> "Head":
        """Returns the head of a classifier whose classes are numbered instead of named.

        Args:
            weight: weights, [K, D].
            bias: biases, [K].
        """
        count = len(bias)
        names = tuple(f"class_{number}" for number in range(count))
        return cls(
            weight=weight,
            bias=bias,
            names=names,
            layer=layer,
            kind=kind,
            centre=np.zeros(count),
            scale=np.ones(count),
        )


def save(folder: pathlib.Path, head: Head) -> None:
    """Adds a head to a model folder, or replaces the head of the folder.

    Raises:
        UserError: the folder is not a complete model folder, or the head does not fit its model.
    """
    config = config_file.read(folder / CONFIG)
    write_arrays(folder, head, config)
    config_file.write(folder / CONFIG, {**config, _ENTRY: entry(head)})


def load(folder: pathlib.Path) -> Head | None:
    """Returns the head of a model folder; None if it has none.

    Raises:
        UserError: the head is damaged, or does not fit the model; the message names the file.
    """
    config = config_file.read(folder / CONFIG)
    if _ENTRY not in config:
        return _load_old(folder, config)
    path, described = folder / ARRAYS, _described(folder / CONFIG, config[_ENTRY])
    if not path.is_file():
        raise UserError(
            f"{path} is missing: it holds the head that {CONFIG} describes. Copy the complete "
            "folder again.",
            problem="missing_head",
        )
    head = Head(**_arrays(path, described.pop("calibration")), **described)
    check(path, head, config)
    return head


def _arrays(path: pathlib.Path, calibration: str | None) -> dict[str, Any]:
    """Returns the fields of a head that a file of arrays holds.

    Args:
        calibration: kind of the calibration; None without one.
    """
    arrays = safetensors_file.read_safetensors(path)
    own = {f"{_CALIBRATION}{name}": name for name in Calibration._fields[1:]} if calibration else {}
    if not set(_ARRAYS) <= set(arrays) <= {*ARRAY_FIELDS, *own}:
        raise UserError(
            f"{path} must hold {', '.join(_ARRAYS)} and what {CONFIG} announces, but holds "
            f"{', '.join(arrays) or 'nothing'}.",
            problem="wrong_head_arrays",
        )
    of_calibration = {own[name]: arrays.pop(name) for name in own if name in arrays}
    fitted = Calibration(calibration, **of_calibration) if calibration else None
    return {**arrays, "calibration": fitted}


def write_arrays(folder: pathlib.Path, head: Head, config: Mapping[str, Any]) -> None:
    """Writes the arrays of a head, but not its entry in `config.json`.

    Args:
        config: configuration of the model that the head belongs to.

    Raises:
        UserError: the head does not fit the model.
    """
    path = folder / ARRAYS
    check(path, head, config)
    named = {name: getattr(head, name) for name in ARRAY_FIELDS}
    arrays = {name: array for name, array in named.items() if array is not None}
    if head.calibration is not None:
        own = head.calibration.arrays()
        arrays |= {f"{_CALIBRATION}{name}": array for name, array in own.items()}
    safetensors_file.write_safetensors(path, arrays, {"format": "pt"})
    (folder / OLD_CLASSIFIER).unlink(missing_ok=True)


def remove(folder: pathlib.Path) -> None:
    """Removes the arrays of a head, in the current and the older layout, from a folder."""
    for name in (ARRAYS, OLD_CLASSIFIER):
        (folder / name).unlink(missing_ok=True)


def entry(head: Head) -> dict[str, Any]:
    """Returns the entry of a head in `config.json`, with the facts that the head has."""
    facts = {
        "calibration": head.calibration and head.calibration.kind,
        "coverage": head.coverage,
        "features": list(head.features) if head.features != (EMBEDDING,) else None,
        "fitted": None if head.fitted is None else dict(head.fitted),
    }
    named = {"names": list(head.names), "layer": head.layer, "kind": head.kind}
    return named | {name: value for name, value in facts.items() if value is not None}


def _described(path: pathlib.Path, value: Any) -> dict[str, Any]:
    """Returns the fields of a head that its entry in a configuration describes; of the calibration
    it is the kind."""
    entries = value if isinstance(value, dict) else {}
    names, layer, kind = (entries.get(key) for key in ("names", "layer", "kind"))
    calibration, coverage, fitted = (
        entries.get(key) for key in ("calibration", "coverage", "fitted")
    )
    features = entries.get("features", [EMBEDDING])
    texts = [*names, layer, kind] if isinstance(names, list) else [None]
    is_number = isinstance(coverage, int | float) and not isinstance(coverage, bool)
    wrong = [
        not all(isinstance(text, str) for text in texts),
        not isinstance(features, list) or not all(isinstance(name, str) for name in features),
        not isinstance(calibration, str | None),
        coverage is not None and not is_number,
        not isinstance(fitted, dict | None),
    ]
    if any(wrong):
        raise UserError(
            f'"{_ENTRY}" in {path} must have a list of "names", a "layer" and a "kind"; it may '
            'have a list of "features", a text "calibration", a number "coverage" and an object '
            '"fitted".',
            problem="wrong_head_entry",
        )
    return {
        "names": tuple(texts[:-2]),
        "layer": layer,
        "kind": kind,
        "calibration": calibration,
        "coverage": coverage,
        "features": tuple(features),
        "fitted": fitted,
    }


def check(path: pathlib.Path, head: Head, config: Mapping[str, Any]) -> None:
    """Raises UserError if the arrays of a file disagree with the names or with the model."""
    layers = config.get("layers", {})
    if head.kind not in KINDS:
        raise UserError(
            f"The head in {path} has the unknown kind {head.kind!r}. Available: "
            f"{', '.join(KINDS)}.",
            problem="unknown_head_kind",
        )
    if head.layer not in layers:
        raise UserError(
            f"The head in {path} reads the layer {head.layer!r}, which the model does not have. "
            f"Available: {', '.join(layers)}.",
            problem="unknown_head_layer",
        )
    width = layers[head.layer]
    if head.features == FEATURES:
        width += max(1, np.shape(head.weight)[-1] - width)  # the baseline knows its own number
    reason = _misfit(head, width)
    if reason is not None:
        raise UserError(
            f"The head in {path} does not fit its {counted(len(head.names), 'name')} and the "
            f"{counted(width, 'feature')} that it reads: {reason}.",
            problem="misshapen_head",
        )


def _misfit(head: Head, width: int) -> str | None:
    """Returns what is wrong with the arrays of a head that reads `width` features, or None."""
    count = len(head.names)
    shapes = {"weight": (count, width)} | dict.fromkeys((*_ARRAYS[1:], *_OPTIONAL), (count,))
    if head.query is not None:
        if head.features != (EMBEDDING,):
            return "queries pool the time steps of the layer, and nothing else"
        shapes[_QUERY] = (max(1, len(np.atleast_1d(head.query))), width)
    arrays = {name: getattr(head, name) for name in shapes}
    calibration = head.calibration
    if calibration is not None:
        own = calibration.arrays()
        is_isotonic = calibration.kind == ISOTONIC
        wanted = Calibration._fields[3:] if is_isotonic else Calibration._fields[1:3]
        if calibration.kind not in CALIBRATIONS or tuple(own) != wanted:
            return f"its calibration {calibration.kind!r} has the arrays {', '.join(own) or 'none'}"
        if head.kind == "regression" or (is_isotonic and head.kind == "multiclass"):
            return f"a {head.kind} head has no {calibration.kind} calibration"
        knots = np.shape(own[wanted[0]])[1:] if is_isotonic else ()
        shapes |= dict.fromkeys(wanted, (count, *knots))
        arrays |= own
    for name, array in arrays.items():
        if array is not None and np.shape(array) != shapes[name]:
            return f"{name} is {list(np.shape(array))} instead of {list(shapes[name])}"
    if len(set(head.names)) < count:
        return "two outputs have the same name"
    if head.features not in ((EMBEDDING,), FEATURES):
        return f"it reads the unknown features {', '.join(head.features) or 'none'}"
    if (head.half_width is None) != (head.coverage is None):
        return "half_width and coverage do not belong to each other"
    if calibration is not None and any(
        np.any(np.diff(knots, axis=1) < 0)
        for knots in calibration.arrays().values()
        if knots.ndim > 1
    ):
        return "the knots of its calibration do not ascend"
    for name in ("threshold", "prevalence", "coverage"):
        value = getattr(head, name)
        if value is not None and not (np.all(np.asarray(value) >= 0) and np.all(value <= 1)):
            return f"{name} is not within 0 to 1"
    return None


def _load_old(folder: pathlib.Path, config: Mapping[str, Any]) -> Head | None:
    """Returns the classifier of an older model folder, whose classes have no names, or None."""
    path, layers = folder / OLD_CLASSIFIER, list(config.get("layers", {}))
    if not path.is_file() or not layers:
        return None
    arrays = safetensors_file.read_safetensors(path)
    if set(arrays) != {_OLD_WEIGHT, _OLD_BIAS} or arrays[_OLD_BIAS].ndim != 1:
        return None
    head = Head.of_classes(arrays[_OLD_WEIGHT], arrays[_OLD_BIAS], layer=layers[-1])
    check(path, head, config)
    return head
