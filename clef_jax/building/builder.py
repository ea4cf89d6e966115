"""What all data set builders share: everything but the knowledge of one source.

A builder says which recordings there are (`_listing`), how to read one (`READ`), where long ones
are worth storing (`WINDOWS`) and which form they have (`LAYOUT`); the rest - shards, workers,
quality, risk, index - is here.
"""

import contextlib
import dataclasses
import inspect
import pathlib
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import tensorflow_datasets as tfds
from etils import epath

from clef_jax.building import (
    index_writer,
    listing as listing_lib,
    pool,
    resume,
    shard,
    summary as summary_lib,
)
from clef_jax.building.option import Config as Config, Options as Options  # for builders
from clef_jax.data import index, quality, record
from clef_jax.errors import UserError

_SOURCES = ("clinical_source", "label_source", "leave_out")


def files_of(entry: listing_lib.Entry) -> Iterable[str]:
    """The files of a recording whose record id is its path without extension."""
    return (f"{entry.path}.*",)


class RecordingBuilder(tfds.core.ShardBasedBuilder, skip_registration=True):
    """Builds sharded ArrayRecord with a sidecar index and a quality report."""

    LAYOUT: ClassVar[record.Layout]
    READ: "ClassVar[staticmethod[[pathlib.Path, listing_lib.Entry], record.Recording]]"
    """A `shard.Read`, which must be a function of a module: it travels to the workers by name."""

    FILES: "ClassVar[staticmethod[[listing_lib.Entry], Iterable[str]]]" = staticmethod(files_of)
    """A `shard.Files`, likewise; by default the recording's path with any extension."""
    SOURCE_RECORDINGS: ClassVar[int | None] = None
    """How many recordings the whole source lists, as published."""
    SOURCES: ClassVar[frozenset[str]] = frozenset()
    """Which of `clinical_source`, `label_source` and `leave_out` mean something here."""
    WINDOWS: "ClassVar[staticmethod[..., Iterable[listing_lib.Entry | quality.Finding]] | None]" = (
        None
    )
    """A `shard.Windows`, likewise; None stores each listed recording whole."""

    def __init_subclass__(cls, **kwargs: Any):
        super().__init_subclass__(**kwargs)
        # TFDS looks for README.md and the like from the top package, and fails if that is a
        # namespace of an editable installation.
        file = epath.Path(inspect.getfile(cls))
        cls.code_path = file
        cls.pkg_dir_path = file.parent

    def __init__(self, *, options: Options | None = None, **kwargs: Any):
        self.options = options or Options()
        self._refuse_useless(self.options)
        self.report: summary_lib.BuildSummary | None = None
        """What the last `download_and_prepare` did."""
        kwargs.setdefault("file_format", "array_record")
        super().__init__(**kwargs)
        self._version_dir = pathlib.Path(self.data_path)

    @property
    def layout(self) -> record.Layout:
        """The form of the recordings in this variant."""
        return getattr(self.builder_config, "layout", None) or self.LAYOUT

    def _refuse_useless(self, options: Options) -> None:
        """Raises a UserError for options that would change nothing here."""
        given = {name for name in _SOURCES if getattr(options, name) not in (None, "none")}
        useless = sorted(given - self.SOURCES)
        if self.WINDOWS is None and options.max_windows != Options.max_windows:
            useless.append("max_windows")
        if useless:
            flags = ", ".join(f"--{name.replace('_', '-')}" for name in useless)
            raise UserError(f"The data set {self.name} has no use for {flags}; leave it out.")

    def _listing(self, source: pathlib.Path) -> contextlib.AbstractContextManager:
        """A context that gives the `listing.Listing` of a source folder.

        Raises:
            UserError: the folder is not this source, or a table is missing.
        """
        raise NotImplementedError

    def _log_download_bytes(self) -> None:
        """Nothing is downloaded; TFDS would print that it is."""

    def _log_download_done(self) -> None:
        """The command shows the report instead."""

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
        """The shards of the build, as a stream; the files are named when all are written."""
        for share in listing_lib.shares(
            listing,
            one_per_patient=self._one_per_patient,
            splits_as_given=self._splits_as_given,
        ):
            yield shard.Task(
                share=share,
                path=str(folder / f"part-{share.number:05d}"),
                source=str(source),
                layout=self.layout,
                read=self.READ,
                files=self.FILES,
                windows=self.WINDOWS,
                max_windows=self.options.max_windows,
                scorer=listing.scorer,
                one_per_patient=self._one_per_patient,
                compression=self.options.compression,
            )

    def _shard_iterators_per_split(
        self, dl_manager: tfds.download.DownloadManager
    ) -> Mapping[str, Sequence[shard.Examples]]:
        """The same shards as picklable iterators, for a runner of TFDS' own."""
        source = pathlib.Path(dl_manager.manual_dir)
        iterators: dict[str, list[shard.Examples]] = {}
        with self._listing(source) as listing:
            for task in self._tasks(listing, source, pathlib.Path(self.data_path)):
                iterators.setdefault(task.share.split, []).append(shard.Examples(task))
        return iterators

    def _download_and_prepare(
        self,
        dl_manager: tfds.download.DownloadManager,
        download_config: tfds.download.DownloadConfig | None = None,
    ) -> None:
        source = pathlib.Path(dl_manager.manual_dir)
        scratch = pathlib.Path(self.data_path)
        with resume.owned(self._version_dir, scratch) as folder:
            if self.options.overwrite:
                resume.clear(folder)
            with self._listing(source) as listing:
                try:
                    self._finish(self._write_shards(listing, source, folder), listing)
                except _NothingToKeep:
                    shutil.rmtree(folder)
                    raise
            shutil.rmtree(folder)

    def _write_shards(
        self, listing: listing_lib.Listing, source: pathlib.Path, folder: pathlib.Path
    ) -> list[shard.Summary]:
        """Writes all shards, and every finding as it comes; returns those that hold records."""
        quality_file = pathlib.Path(self.data_path) / summary_lib.QUALITY_FILE
        with quality_file.open("w", encoding="utf-8") as stream:
            self.report = self._start_report(listing)
            self.report.add_findings(listing.findings, stream)
            self._stop_if_strict(listing.findings)
            written = []
            for summary in self._run(self._tasks(listing, source, folder)):
                self.report.add(summary, stream)
                if self.options.watch is not None:
                    self.options.watch(self.report)
                self._stop_if_strict(summary.findings)
                if summary.num_stored:
                    written.append(summary)
        return written

    def _start_report(self, listing: listing_lib.Listing) -> summary_lib.BuildSummary:
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
            raise _NothingToKeep(
                f"Stopped by --strict at {bad[0].record_id}: {bad[0].problem}. {bad[0].detail}",
                problem="strict",
            )

    def _finish(self, kept: Sequence[shard.Summary], listing: listing_lib.Listing) -> None:
        """Names the shards, and writes the index and the metadata."""
        assert self.report is not None
        if not kept:
            problems = ", ".join(sorted({problem for problem, _ in self.report.problems}))
            raise _NothingToKeep(
                f"None of the {listing.num_records} recordings is usable ({problems}), so no data "
                "set was made. --strict shows the first one's reason.",
                problem="nothing_usable",
            )
        by_split = _by_split(kept, listing.splits)
        for split in listing.splits:
            if split not in by_split:
                note = f"No recording fell into the split {split!r}: there is none."
                self.report.notes.append(note)
        infos = {split: self._name_shards(split, group) for split, group in by_split.items()}
        self.info.set_splits(tfds.core.SplitDict(list(infos.values())))
        self.report.num_bytes = sum(info.num_bytes for info in infos.values())
        metadata = index_writer.metadata(
            dataset=self.info.full_name,
            layout=self.layout,
            settings={
                **dataclasses.asdict(self.options.clinical),
                "clinical_source": listing.clinical_source,
                "max_windows": self.options.max_windows,
            },
            classes=listing.classes,
            by_split=by_split,
            shard_names={s: [path.name for path in info.filepaths] for s, info in infos.items()},
        )
        assert self.info.metadata is not None  # made by _info
        told = ("cohort_quantiles", "fingerprint", "labels")
        self.info.metadata.update({name: metadata[name] for name in told})
        columns = {split: index_writer.columns(group) for split, group in by_split.items()}
        index.write(pathlib.Path(self.data_path), metadata, columns)

    def _name_shards(self, split: str, group: Sequence[shard.Summary]) -> tfds.core.SplitInfo:
        info = tfds.core.SplitInfo(
            name=split,
            shard_lengths=[summary.num_stored for summary in group],
            num_bytes=sum(pathlib.Path(summary.path).stat().st_size for summary in group),
            filename_template=self._get_filename_template(split_name=split),
        )
        for summary, path in zip(group, info.filepaths, strict=True):
            epath.Path(summary.path).rename(path)
        return info


def _by_split(
    summaries: Sequence[shard.Summary], expected: Iterable[str]
) -> dict[str, list[shard.Summary]]:
    """The shards of each split that has any, in the order expected, others behind."""
    found = {summary.split: None for summary in summaries}
    order = [split for split in expected if split in found]
    order += sorted(set(found) - set(order))
    return {split: [one for one in summaries if one.split == split] for split in order}


class _NothingToKeep(UserError):
    """Ends a build whose shards no later build shall take over."""
