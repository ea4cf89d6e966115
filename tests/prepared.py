"""Prepares a data set in a test, and gives what came of it."""

import json
import pathlib

import tensorflow_datasets as tfds

from clef_jax.building import builder, catalog


def build(dataset, source, data_dir, **options):
    """The builder of `name` or `name/config` after it prepared a source folder."""
    made = catalog.builder(dataset, data_dir=data_dir, options=builder.Options(**options))
    made.download_and_prepare(download_config=tfds.download.DownloadConfig(manual_dir=str(source)))
    return made


def build_simulated(dataset, folder):
    """Writes the simulated tree of a data set into a folder and prepares it in folder / "data"."""
    name, _, config = dataset.partition("/")
    tree = catalog.simulated(name).write(folder / "sources" / name)
    options = dict(tree.options)
    if config == "lvef":
        options |= _lvef(tree, folder)
    return build(dataset, tree.source, folder / "data", **options)


def _lvef(tree, folder):
    """Labels most of the simulated MIMIC-IV-ECG, every third reduced, and keeps those patients out
    of the pre-training data beside it."""
    lines = ["n,path,x,LVEF,label"]
    labelled = sorted(tree.stored, key=lambda record_id: tree.stored[record_id].patient_id)[:-8]
    for number, record_id in enumerate(labelled):
        value = 35 if number % 3 == 0 else 60
        lines.append(f"{number},{record_id},x,{value},{int(value < 50)}")
    (folder / "LVEF.csv").write_text("\n".join(lines))
    table, options = str(folder / "LVEF.csv"), {"clinical_source": "none"}
    pretraining = "mimic_iv_ecg/one_per_patient"
    build(pretraining, tree.source, folder / "data", leave_out=table, **options)
    return options | {"label_source": table}


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
