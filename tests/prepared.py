"""Prepares a data set in a test, and gives what came of it."""

import json
import pathlib

import tensorflow_datasets as tfds

from clef_jax import catalog
from clef_jax.data import builder


def build(dataset, source, data_dir, **options):
    """The builder of `name` or `name/config` after it prepared a source folder."""
    made = catalog.builder(dataset, data_dir=data_dir, options=builder.Options(**options))
    made.download_and_prepare(download_config=tfds.download.DownloadConfig(manual_dir=str(source)))
    return made


def examples(made):
    """What is stored, by record id, each with its split."""
    return {
        e["record_id"].decode(): {**e, "split": split}
        for split in made.info.splits
        for e in made.as_data_source(split)
    }


def findings(made):
    """The quality report."""
    lines = (pathlib.Path(made.data_path) / "quality.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def problems(made):
    """The quality report as (record id, problem, action)."""
    return {(f["record_id"], f["problem"], f["action"]) for f in findings(made)}
