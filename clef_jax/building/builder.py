"""Base class of all data set builders.

A subclass defines which recordings the source has (`_listing`), how to read one (`READ`), which
windows of long recordings to store (`WINDOWS`), and their leads and labels (`LAYOUT`). The base
class writes the shards and the index, and checks signal quality.
"""

import contextlib
import dataclasses
import inspect
import pathlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import tensorflow_datasets as tfds
from etils import epath

from clef_jax import folder_lock
from clef_jax.building import (
    clinical,
    index_writer,
    listing as listing_lib,
    pool,
    resume,
    shard,
    summary as summary_lib,
)
from clef_jax.building.option import Config as Config, Options as Options  # for builders
from clef_jax.data import index, record
from clef_jax.errors import UserError, counted
from clef_jax.finding import Finding

_SOURCES = ("clinical_source", "label_source", "leave_out")


def default_files(entry: listing_lib.Entry) -> Iterable[str]:
    """Returns patterns of the files of a recording whose path without extension is its id."""
    return (f"{entry.path}.*",)


class RecordingBuilder(tfds.core.ShardBasedBuilder, skip_registration=True):
    """Builds a sharded ArrayRecord data set with an index and a file of quality findings."""

    LAYOUT: ClassVar[record.Layout]
    """Leads, sampling rate, length and labels of the recordings."""
    READ: "ClassVar[staticmethod[[pathlib.Path, listing_lib.Entry], record.Recording]]"
    """A `shard.Read`; a module-level function, because workers import it by name."""

    FILES: "ClassVar[staticmethod[[listing_lib.Entry], Iterable[str]]]" = staticmethod(
        default_files
    )
    """A `shard.Files`, likewise; by default the recording's path with any extension."""
    SOURCE_RECORDINGS: ClassVar[int | None] = None
    """Number of recordings of the complete source, as published; None if it is not published."""
    SOURCES: ClassVar[frozenset[str]] = frozenset()
    """Those of `clinical_source`, `label_source` and `leave_out` that the data set uses."""
    STATES_AGE_AND_SEX: ClassVar[bool] = True
    """Whether the source states the patients' age and sex, from which `age_sex` computes a risk."""
    WINDOWS: "ClassVar[staticmethod[..., Iterable[listing_lib.Entry | Finding]] | None]" = None
    """A `shard.Windows`, likewise; None stores each listed recording completely."""

    def __init_subclass__(cls, **kwargs: Any):
        super().__init_subclass__(**kwargs)
        # TFDS searches for README.md and other files from the top package, which fails if that is
        # a namespace package of an editable installation.
        file = epath.Path(inspect.getfile(cls))
        cls.code_path = file
        cls.pkg_dir_path = file.parent

    def __init__(self, *, options: Options | None = None, **kwargs: Any):
        self.options = options or Options()
        self._reject_unused(self.options)
        self._reject_score()
        self.summary: summary_lib.BuildSummary | None = None
        """Counts of the last `download_and_prepare`; None before it."""
        kwargs.setdefault("file_format", "array_record")
        super().__init__(**kwargs)
        self._reject_preference()
        self._version_dir = pathlib.Path(self.data_path)

    @property
    def layout(self) -> record.Layout:
        """The layout of the recordings in this config."""
        return getattr(self.builder_config, "layout", None) or self.LAYOUT

    def _reject_unused(self, options: Options) -> None:
        """Raises a UserError for options that this data set does not use."""
        given = {name for name in _SOURCES if getattr(options, name) not in (None, "none")}
        unused = sorted(given - self.SOURCES)
        if self.WINDOWS is None and options.max_windows != Options.max_windows:
            unused.append("max_windows")
        if unused:
            flags = ", ".join(f"--{name.replace('_', '-')}" for name in unused)
            raise UserError(f"The data set {self.name} does not use {flags}; omit it.")

    def _reject_score(self) -> None:
        """Raises a UserError for a score of age and sex if the source states neither."""
        if self._needs_only_age_and_sex and not self.STATES_AGE_AND_SEX:
            raise UserError(
                f"The data set {self.name} states neither age nor sex, which --score="
                f"{self.options.clinical.score} needs; omit it.",
                problem="unusable_score",
            )

    @property
    def _needs_only_age_and_sex(self) -> bool:
        score = clinical.find_score(self.options.clinical.score)
        return set(score.inputs) <= {"age_years", "male"}

    def _choose_scorer(self, listing: listing_lib.Listing) -> clinical.Scorer | None:
        """Returns the listing's scorer, or one of age and sex if the settings ask for it."""
        if not self._needs_only_age_and_sex:
            return listing.scorer
        settings = self.options.clinical
        return clinical.Scorer(
            score=settings.score, region=settings.region, median_of_men={}, median_of_women={}
        )

    def _reject_preference(self) -> None:
        """Raises a UserError if a recording is preferred although all of a patient are stored."""
        if self.options.prefer != Options.prefer and not self._one_per_patient:
            config = self.builder_config
            name = f"{self.name}/{config.name}" if config else self.name
            raise UserError(
                f"{name} stores all recordings of each patient and does not use --prefer; omit it."
            )

    def _listing(self, source: pathlib.Path) -> contextlib.AbstractContextManager:
        """Returns a context manager that yields the `listing.Listing` of a source folder.

        Raises:
            UserError: the folder does not hold this source, or a table is missing.
        """
        raise NotImplementedError

    def _log_download_bytes(self) -> None:
        """Logs nothing, because nothing is downloaded; TFDS would log a download."""

    def _log_download_done(self) -> None:
        """Logs nothing, because the command prints a summary instead."""

    @property
    def _one_per_patient(self) -> bool:
        return getattr(self.builder_config, "one_per_patient", False)

    @property
    def _splits_as_given(self) -> bool:
        return getattr(self.builder_config, "splits_as_given", False)

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(
            features=record.features(self.layout),
            metadata=tfds.core.MetadataDict(
                sample_rate_hz=self.layout.sample_rate_hz,
                leads=list(self.layout.leads),
                amplitude=self.layout.amplitude,
                clinical=dataclasses.asdict(self.options.clinical),
            ),
        )

    def _tasks(
        self, listing: listing_lib.Listing, source: pathlib.Path, folder: pathlib.Path
    ) -> Iterator[shard.Task]:
        """Yields the task of each shard; the files get their final names when all are written."""
        scorer = self._choose_scorer(listing)
        for assignment in listing_lib.assign_shards(
            listing,
            one_per_patient=self._one_per_patient,
            splits_as_given=self._splits_as_given,
        ):
            yield shard.Task(
                assignment=assignment,
                path=str(folder / f"part-{assignment.number:05d}"),
                source=str(source),
                layout=self.layout,
                read=self.READ,
                files=self.FILES,
                windows=self.WINDOWS,
                max_windows=self.options.max_windows,
                scorer=scorer,
                one_per_patient=self._one_per_patient,
                compression=self.options.compression,
            )

    def _shard_iterators_per_split(
        self, dl_manager: tfds.download.DownloadManager
    ) -> Mapping[str, Sequence[shard.Examples]]:
        """Returns the same shards as picklable iterators, for a runner of TFDS."""
        source = pathlib.Path(dl_manager.manual_dir)
        iterators: dict[str, list[shard.Examples]] = {}
        with self._listing(source) as listing:
            for task in self._tasks(listing, source, pathlib.Path(self.data_path)):
                iterators.setdefault(task.assignment.split, []).append(shard.Examples(task))
        return iterators

    def _download_and_prepare(
        self,
        dl_manager: tfds.download.DownloadManager,
        download_config: tfds.download.DownloadConfig | None = None,
    ) -> None:
        source = pathlib.Path(dl_manager.manual_dir)
        scratch = pathlib.Path(self.data_path)
        replaces = self.options.overwrite and resume.previous_folder(self._version_dir).exists()
        with resume.lock_folder(self._version_dir, scratch, keeps_shards=not replaces) as lock:
            folder = lock.path.parent
            if self.options.overwrite:
                resume.clear(folder)
            with self._listing(source) as listing:
                try:
                    self._finish(self._write_shards(listing, source, lock), listing, lock)
                except _NoDataSetError:
                    resume.clear(folder)
                    raise
            resume.clear(folder)

    def _write_shards(
        self, listing: listing_lib.Listing, source: pathlib.Path, lock: folder_lock.FolderLock
    ) -> list[shard.Summary]:
        """Writes all shards and findings; returns the summaries of shards that hold records."""
        quality_file = pathlib.Path(self.data_path) / summary_lib.QUALITY_FILE
        with quality_file.open("w", encoding="utf-8") as stream:
            self.summary = self._start_summary(listing)
            self.summary.add_findings(listing.findings, stream)
            self._stop_if_strict(listing.findings)
            written = []
            for summary in self._run(self._tasks(listing, source, lock.path.parent)):
                resume.check(lock, self._version_dir)
                self.summary.add(summary, stream)
                if self.options.watch is not None:
                    self.options.watch(self.summary)
                self._stop_if_strict(summary.findings)
                if summary.num_stored:
                    written.append(summary)
        return written

    def _start_summary(self, listing: listing_lib.Listing) -> summary_lib.BuildSummary:
        return summary_lib.BuildSummary(
            num_listed=listing.num_records,
            num_patients_listed=listing.num_patients,
            num_in_source=self.SOURCE_RECORDINGS,
            clinical_source=listing.clinical_source,
            coverage=listing.coverage,
        )

    def _run(self, tasks: Iterator[shard.Task]) -> Iterator[shard.Summary]:
        if self.options.beam_options is None:
            return pool.run(tasks, self.options.workers)
        from clef_jax.building import beam

        settings = beam.Settings(
            options=self.options.beam_options,
            remote_source=self.options.remote_source,
            remote_scratch=self.options.remote_scratch,
        )
        return beam.run(tasks, settings)

    def _stop_if_strict(self, findings: Sequence) -> None:
        bad = [finding for finding in findings if finding.action == "quarantined"]
        if self.options.strict and bad:
            raise _NoDataSetError(
                f"Stopped by --strict at {bad[0].record_id}: {bad[0].problem}. {bad[0].detail}",
                problem="strict",
            )

    def _finish(
        self,
        kept: Sequence[shard.Summary],
        listing: listing_lib.Listing,
        lock: folder_lock.FolderLock,
    ) -> None:
        """Renames the shards, and writes the index and the metadata.

        Raises:
            UserError: no recording is usable, or the shards no longer belong to this build.
        """
        assert self.summary is not None
        if not kept:
            found = {problem for problem, action in self.summary.problems if action != "kept"}
            problems = ", ".join(sorted(found))
            raise _NoDataSetError(
                f"None of the {counted(listing.num_records, 'recording')} is usable ({problems}), "
                "so no data set was built. --strict shows the reason for the first recording.",
                problem="nothing_usable",
            )
        by_split = _by_split(kept, listing.splits)
        for split in listing.splits:
            if split not in by_split:
                note = f"No recording belongs to the split {split!r}, so it was not written."
                self.summary.notes.append(note)
        infos = {split: self._split_info(split, group) for split, group in by_split.items()}
        self.info.set_splits(tfds.core.SplitDict(list(infos.values())))
        self.summary.num_bytes = sum(info.num_bytes for info in infos.values())
        metadata = index_writer.metadata(
            dataset=self.info.full_name,
            layout=self.layout,
            settings={
                **dataclasses.asdict(self.options.clinical),
                "clinical_source": listing.clinical_source,
                "max_windows": self.options.max_windows,
                "prefer": self.options.prefer,
            },
            classes=listing.classes,
            by_split=by_split,
            shard_names={s: [path.name for path in info.filepaths] for s, info in infos.items()},
        )
        assert self.info.metadata is not None  # set by _info
        names = ("cohort_quantiles", "fingerprint", "labels")
        self.info.metadata.update({name: metadata[name] for name in names})
        columns = {split: index_writer.columns(group) for split, group in by_split.items()}
        index.write(pathlib.Path(self.data_path), metadata, columns)
        resume.check(lock, self._version_dir)
        # Last, so that a full disk leaves the shards where the next build finds them.
        for split, group in by_split.items():
            for summary, path in zip(group, infos[split].filepaths, strict=True):
                epath.Path(summary.path).rename(path)

    def _split_info(self, split: str, group: Sequence[shard.Summary]) -> tfds.core.SplitInfo:
        return tfds.core.SplitInfo(
            name=split,
            shard_lengths=[summary.num_stored for summary in group],
            num_bytes=sum(pathlib.Path(summary.path).stat().st_size for summary in group),
            filename_template=self._get_filename_template(split_name=split),
        )


def _by_split(
    summaries: Sequence[shard.Summary], expected: Iterable[str]
) -> dict[str, list[shard.Summary]]:
    """Returns the summaries of each split that has any: expected splits in order, then others."""
    present = {summary.split for summary in summaries}
    order = [split for split in expected if split in present]
    order += sorted(present - set(order))
    return {split: [s for s in summaries if s.split == split] for split in order}


class _NoDataSetError(UserError):
    """Ends a build whose shards a later build must not reuse."""
