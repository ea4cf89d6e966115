"""The demo walks the whole road, so this is the end-to-end test; the page is what users look at."""

import re

import jax
import pytest
from culprits import assert_names, refuses

from clef_jax import demo, report
from clef_jax.training import logs

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    flags = ["--size=tiny", "--patients=24", "--num-steps=3", "--global-batch-size=8"]
    before = jax.config.jax_compilation_cache_dir
    demo.main([f"--out={folder}", *flags])
    jax.config.update("jax_compilation_cache_dir", before)
    return folder


def test_page_has_its_figures_and_facts(out):
    page = (out / "report.html").read_text()
    assert page.count('role="img"') > 4 * 4
    assert_names(page, "tiny", "clef", "3 of 8 patients")


def test_page_names_no_patient_and_needs_no_other_file(out):
    page = (out / "report.html").read_text()
    assert not re.search(r"p\d{8}|s\d{8}", page)
    assert not re.search(r'(src|href)="(?!data:|#)', page)


def test_started_again_it_keeps_what_is_done(out, capsys):
    demo.main([f"--out={out}", "--size=tiny", "--num-steps=3", "--global-batch-size=8"])
    shown = capsys.readouterr().out
    assert_names(shown, "step 3")
    assert "4/" not in shown
    assert [line["step"] for line in logs.read(out / "run") if "loss" in line]


def test_report_of_no_run_is_refused(tmp_path):
    with refuses(tmp_path, "checkpoints"):
        report.write(report.Arguments(workdir=(str(tmp_path),)))


def test_data_that_moved_can_be_named(out, tmp_path):
    moved = out.rename(tmp_path / "moved")
    arguments = report.Arguments(workdir=(str(moved / "run"),), data_dir=str(moved / "data"))
    assert report.write(arguments).read_text().startswith("<!doctype html>")


@pytest.mark.parametrize(
    ("flags", "culprits"),
    [
        (["--size=huge"], ("'huge'",)),
        (["--global-batch-size=1"], ("--global-batch-size",)),
        (["--patients=8", "--global-batch-size=32"], ("--patients=8", "--global-batch-size=32")),
        (["--num-steps=-1"], ("num",)),
        (["--patients=0"], ("--patients",)),
    ],
)
def test_options_are_checked_before_anything_is_prepared(flags, culprits, tmp_path, capsys):
    folder = tmp_path / "demo"
    with pytest.raises(SystemExit):
        demo.main([f"--out={folder}", *flags])
    assert_names(capsys.readouterr().err, *culprits)
    assert not folder.exists()


def test_a_page_of_another_origin_is_refused_before_anything_is_prepared(tmp_path, capsys):
    (tmp_path / "report.html").write_text("mine")
    with pytest.raises(SystemExit):
        demo.main([f"--out={tmp_path}"])
    assert_names(capsys.readouterr().err, tmp_path / "report.html")
    assert [item.name for item in tmp_path.iterdir()] == ["report.html"]
    with refuses(tmp_path / "report.html", problem="foreign_file"):
        out = str(tmp_path / "report.html")
        report.write(report.Arguments(workdir=(str(tmp_path),), out=out))
