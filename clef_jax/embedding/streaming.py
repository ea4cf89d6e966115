"""Embeds a signal while it is recorded, and answers: packets in, embeddings and answers out.

`Pretrained.stream` makes the streams. The module `stream` embeds files instead.

Shapes: C leads that the encoder takes at once, L rows of a packet, n samples of a packet, S samples
of a window at the rate of the signal, D features of a layer.
"""

import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from clef_jax import lead_order, leads
from clef_jax.embedding import array, batch, window as window_lib
from clef_jax.embedding.encoder import Encoder
from clef_jax.embedding.prediction import Prediction, WindowAnswerer
from clef_jax.embedding.tail import Tail
from clef_jax.embedding.window import MAX_SECONDS, Windower
from clef_jax.errors import UserError

MAX_JITTER_SECONDS = 0.1
"""How much later than expected a packet may be before samples count as lost, by default."""
_DRIFT_SECONDS = 60.0
"""Time in which the times of packets correct the clock of the stream. The true rate of a recorder
differs from the stated one, by up to a minute a day."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class StreamedWindow:
    """A window that is complete: its embedding, answer, time and quality."""

    start_seconds: float
    """Start of the window in seconds from the start of the stream, by the number of samples."""
    embedding: np.ndarray
    """Embedding of the window, float32 [D]."""
    missing_fraction: float
    """Fraction of the window's samples that are missing."""
    problems: tuple[str, ...]
    """Problem codes as in a quality report; empty where nothing is wrong."""
    usable: bool
    """Whether the embedding means anything."""
    time_seconds: float | None = None
    """Start of the window on the clock of the packets' times; None if they have none."""
    answer: Prediction | None = None
    """Answers of the model's head to the window, NaN where it is not usable; its `problems` are
    those of the window, and what is unlike the recordings that the head was fitted to. None if the
    model has no head."""


class _Waiting(NamedTuple):
    """A window that is complete and not yet encoded."""

    start: int
    """First sample of the window, from the start of the stream."""
    windows: batch.Windows
    of_head: batch.Windows | None
    """The window for the head's own encoder; None if the head reads the other's features."""
    is_empty: bool
    """Whether no sample of any lead is present."""


class _Features(NamedTuple):
    """Features of a window."""

    own: np.ndarray
    """Those of all layers, [D']."""
    of_head: np.ndarray
    """Those that the head's encoder gives; `own` if it is the same encoder."""


class PacketStream:
    """Embeds the windows of a signal that arrives in packets.

    The embeddings are those of `Pretrained.windows` for the complete signal. The memory holds a
    window and a part of it, however long the stream is. The encoder is compiled when the stream is
    made, so that the first window need not wait for it. A packet that is refused changes nothing.

    Args:
        encoder: encoder of the windows.
        features: slice of the features to return among those of all layers.
        windower: windower for the rate of the signal.
        answerer: answers about each window; by default there are no answers.
        lead_names: names of a packet's rows, in any spelling, for an encoder of 12 leads; by
            default they are in the standard order.
        unit: mV, uV, V or adc (unknown unit); by default adc for integers, otherwise mV.
        max_jitter_seconds: how much later than expected a packet with a time may be, without
            samples counting as lost.

    Raises:
        UserError: the unit, a lead or the jitter is invalid.
    """

    def __init__(
        self,
        encoder: Encoder,
        features: slice,
        windower: Windower,
        *,
        answerer: WindowAnswerer | None = None,
        lead_names: Sequence[str] | None = None,
        unit: str | None = None,
        max_jitter_seconds: float = MAX_JITTER_SECONDS,
    ):
        self._encoder, self._features, self._windower = encoder, features, windower
        self._answerer = answerer
        self._head_windower: Windower | None = None  # None if the head reads the same windows
        if answerer is not None and answerer.encoder is not encoder:
            self._head_windower = batch.make_windower(answerer.encoder, windower.sample_rate_hz)
        self._rows = list(range(encoder.in_channels))
        self._packet_rows = len(self._rows)
        if lead_names is not None and encoder.in_channels > 1:
            self._rows = [lead_order.find(name, lead_names) for name in leads.STANDARD_12]
            self._packet_rows = len(lead_names)
        _, self._unit_known = array.to_mv(np.zeros(1), unit)  # refuses an unknown unit
        self._unit, self._is_unit_given = unit, unit is not None
        self._max_jitter_seconds = window_lib.number(max_jitter_seconds, "jitter", "seconds")
        if not self._max_jitter_seconds >= 0:
            raise UserError(
                f"The jitter must be at least 0 s, not {max_jitter_seconds:g} s.",
                problem="wrong_jitter",
            )
        self._clock_start: float | None = None  # time of the first sample on the packets' clock
        self._tail = Tail(len(self._rows), windower.num_samples)
        self._next = 0
        self._is_finished = False
        nothing = np.full((len(self._rows), windower.num_samples), np.nan)
        self._of_nothing = next(self._features_of([self._cut(0, nothing)]))

    @property
    def num_samples(self) -> int:
        """Number of samples of each lead so far, lost ones included."""
        return self._tail.end

    def push(self, samples: Any, time_seconds: float | None = None) -> list[StreamedWindow]:
        """Adds a packet, and returns the windows that it completes.

        Args:
            samples: [n], or [L, n] for an encoder of several leads; any number of samples, also
                none. NaN (or -32768 among integers) is missing, and so is what a masked array
                masks.
            time_seconds: time of the packet's first sample on any clock. Where it is later than the
                samples before it imply, the samples between count as lost.

        Raises:
            UserError: the packet has a wrong shape, type or time, or the stream is finished; the
                message says why.
        """
        self._check_open()
        packet = self._check_packet(samples)
        unit = self._check_unit(packet)
        clock_start, num_lost = self._check_time(time_seconds, packet.shape[-1])
        self._check_length(num_lost + packet.shape[-1])
        if packet.size:
            self._clock_start = clock_start
            self._unit, self._unit_known = unit, unit != "adc"
        return [*self._add_gap(num_lost), *self._add(self._pieces(packet))]

    def skip(self, num_samples: int) -> list[StreamedWindow]:
        """Adds lost samples as a gap, and returns the windows that it completes.

        Args:
            num_samples: number of samples of each lead that were lost.

        Raises:
            UserError: the number is no whole number or negative, or the stream is finished.
        """
        self._check_open()
        is_whole = isinstance(num_samples, int | np.integer) and not isinstance(num_samples, bool)
        if not is_whole or num_samples < 0:
            raise UserError(
                f"The number of lost samples must be a whole number from 0, not {num_samples!r}.",
                problem="not_a_number",
            )
        self._check_length(int(num_samples))
        return self._add_gap(int(num_samples))

    def finish(self) -> list[StreamedWindow]:
        """Ends the stream, and returns the window of its end, if there is one.

        A remainder of a tenth of a window or more is covered by a window that ends with the signal;
        a signal shorter than a window is continued by its mirror image, as in `Pretrained.embed`.

        Raises:
            UserError: the signal is too short to hold a beat, or the stream is finished.
        """
        self._check_open()
        stride, num_samples = self._windower.stride, self._windower.num_samples
        if self._next == 0:
            first = self._windower.starts(self.num_samples)
        else:
            last = self._next - stride  # the last window so far, after which the same rule holds
            first = last + window_lib.starts(self.num_samples - last, num_samples, stride)[1:]
        self._is_finished = True
        return self._encode([self._cut(start, self._tail.last(num_samples)) for start in first])

    def _check_open(self) -> None:
        if self._is_finished:
            raise UserError(
                "The stream is finished and takes no more samples; make another stream.",
                problem="finished",
            )

    def _check_packet(self, samples: Any) -> np.ndarray:
        """Returns a packet as an array [L, n]; raises if it is none."""
        packet = array.unmasked(samples)
        if packet.size == 0:
            return np.zeros((self._packet_rows, 0))
        if packet.dtype.kind not in "iuf":
            raise UserError(
                f"A packet must hold real numbers, not {packet.dtype}; use skip(num_samples) for "
                "lost samples.",
                problem="not_a_number",
            )
        if packet.ndim == 1 and self._packet_rows == 1:
            return packet[None]
        if packet.ndim != 2 or len(packet) != self._packet_rows:
            expected = f"[{self._packet_rows}, samples]" if self._packet_rows > 1 else "[samples]"
            several = packet.ndim == 2 and self._packet_rows == 1
            hint = "; make a stream for each lead" if several else ""
            raise UserError(
                f"A packet of this stream has the shape {expected}, not {list(packet.shape)}"
                f"{hint}.",
                problem="wrong_shape",
            )
        return packet

    def _check_unit(self, packet: np.ndarray) -> str | None:
        """Returns the unit of a packet; raises if it would differ from that of earlier packets."""
        if self._is_unit_given or not packet.size:
            return self._unit
        unit = "mV" if packet.dtype.kind == "f" else "adc"
        if self._unit not in (None, unit):
            kinds = {"mV": "fractional numbers (mV)", "adc": "integers (ADC units)"}
            raise UserError(
                f"The packet holds {kinds[unit]}, but earlier packets held {kinds[self._unit]}; "
                "state the unit when the stream is made: stream(..., unit='mV').",
                problem="mixed_units",
            )
        return unit

    def _check_time(self, time_seconds: Any, num_samples: int) -> tuple[float | None, int]:
        """Returns the time of the stream's first sample, corrected by a packet's time, and how many
        samples were lost before the packet."""
        start = self._clock_start
        if time_seconds is None or not num_samples:
            return start, 0
        time_seconds = window_lib.number(time_seconds, "time of a packet", "seconds")
        if not math.isfinite(time_seconds):
            raise UserError(
                f"The time of a packet must be finite, not {time_seconds}.", problem="not_finite"
            )
        rate_hz, jitter = self._windower.sample_rate_hz, self._max_jitter_seconds
        here = self.num_samples / rate_hz
        if start is None:
            return time_seconds - here, 0
        late = time_seconds - (start + here)
        if late < -jitter:
            raise UserError(
                f"The packet starts {-late:.6g} s before the previous one ends; give the packets "
                "once and in order, and check the sampling rate and that times are in seconds.",
                problem="time_goes_back",
            )
        if late > jitter:
            return start, round(min(late, 2 * MAX_SECONDS) * rate_hz)
        return start + late * min(1.0, num_samples / rate_hz / _DRIFT_SECONDS), 0

    def _check_length(self, num_added: int) -> None:
        if self.num_samples + num_added > MAX_SECONDS * self._windower.sample_rate_hz:
            raise UserError(
                f"The stream would last more than the {MAX_SECONDS / 86_400:g} days that are read; "
                "check the number of lost samples, and that times are in seconds.",
                problem="too_long",
            )

    def _pieces(self, packet: np.ndarray) -> Iterator[np.ndarray]:
        """Yields a packet [L, n] piece by piece in mV, float64 [C, n']."""
        for start in range(0, packet.shape[-1], self._tail.room):
            piece = packet[self._rows, start : start + self._tail.room]
            yield array.to_mv(piece, self._unit)[0]

    def _add_gap(self, num_samples: int) -> list[StreamedWindow]:
        room = self._tail.room
        lengths = (min(room, num_samples - start) for start in range(0, num_samples, room))
        return self._add(np.full((len(self._rows), length), np.nan) for length in lengths)

    def _add(self, pieces_mv: Iterator[np.ndarray]) -> list[StreamedWindow]:
        """Adds pieces [C, n'] to the signal, and returns the windows that they complete."""
        waiting: list[_Waiting] = []
        complete: list[StreamedWindow] = []
        for piece_mv in pieces_mv:
            self._tail.append(piece_mv)
            while self._next + self._windower.num_samples <= self._tail.end:
                signal_mv = self._tail.window(self._next)
                waiting.append(self._cut(self._next, signal_mv))
                self._next += self._windower.stride
                if len(waiting) == batch.BATCH_SIZES[-1]:
                    complete += self._encode(waiting)
                    waiting = []
        return complete + self._encode(waiting)

    def _cut(self, start: int, signal_mv: np.ndarray) -> _Waiting:
        """Prepares one window [C, S], or a complete signal that is shorter."""
        first, unit_known = np.zeros(1, int), self._unit_known
        windows = batch.cut(signal_mv, self._windower, first, unit_known=unit_known)
        of_head = None
        if self._head_windower is not None:
            of_head = batch.cut(signal_mv, self._head_windower, first, unit_known=unit_known)
        return _Waiting(int(start), windows, of_head, bool(np.isnan(signal_mv).all()))

    def _features_of(self, waiting: Sequence[_Waiting]) -> Iterator[_Features]:
        """Yields the features of windows."""
        own = _encode(self._encoder, [item.windows for item in waiting], self._windower)
        of_head = own
        if self._answerer is not None and self._head_windower is not None:
            windows = [item.of_head for item in waiting if item.of_head is not None]
            of_head = _encode(self._answerer.encoder, windows, self._head_windower)
        return map(_Features, own, of_head)

    def _encode(self, waiting: Sequence[_Waiting]) -> list[StreamedWindow]:
        """Encodes windows in order; those of a long gap need no encoder."""
        present = [item for item in waiting if not item.is_empty]
        encoded = self._features_of(present) if present else iter(())
        return [
            self._result(item, self._of_nothing if item.is_empty else next(encoded))
            for item in waiting
        ]

    def _result(self, item: _Waiting, features: _Features) -> StreamedWindow:
        """Returns what the caller receives for a window."""
        quality = item.windows.quality
        start_seconds = item.start / self._windower.sample_rate_hz
        clock_start, answerer = self._clock_start, self._answerer
        return StreamedWindow(
            start_seconds=start_seconds,
            embedding=features.own[self._features].copy(),
            missing_fraction=float(quality.missing_fraction[0]),
            problems=quality.problems[0],
            usable=bool(quality.usable[0]),
            time_seconds=None if clock_start is None else clock_start + start_seconds,
            answer=None if answerer is None else answerer(features.of_head, quality),
        )


def _encode(encoder: Encoder, windows: Sequence[batch.Windows], windower: Windower) -> np.ndarray:
    """Returns the features of all layers of windows, float32 [W, D']."""
    signal_mv = np.concatenate([item.signal_mv for item in windows])
    return batch.encode(encoder, signal_mv, windower.window_rate_hz, batch.BATCH_SIZES)
