"""The page answers first, and holds everything else folded."""

import dataclasses
import re

import page_samples
import pytest
from culprits import assert_names

from clef_jax.evaluation import best, overview, page, result as result_lib
from clef_jax.page import dots


@pytest.fixture(scope="module")
def results():
    return page_samples.results(5, 4, num_recordings=160)


@pytest.fixture(scope="module")
def standings(results):
    return best.by_task(results, num_resamples=60, seed=0)


@pytest.fixture(scope="module")
def html(results, standings):
    binary = [result for result in results if len(result.task.outputs) == 1]
    compared = result_lib.compare(binary, num_resamples=60, seed=0)
    about = page_samples.about(results)
    return page.render(about, results, compared, [], ["no data of icentia"], standings)


def test_the_answer_comes_first(html, results, standings):
    before = html.partition("<details")[0]
    assert_names(before, "no data of icentia", "best or tied", page_samples.MODELS[0])
    names = {result.task.name for result in results}
    assert all(f'href="#task-{name}"' in before for name in names)
    assert before.count('role="img"') == len(names)
    assert dots.BEST in before
    assert len(standings) == len(names)


def test_every_task_is_folded_and_its_charts_have_texts(html, results):
    for name in {result.task.name for result in results}:
        assert html.count(f'<details id="task-{name}">') == 1
    for drawn in re.findall(r"<svg[^>]*>", html):
        assert 'aria-hidden="true"' in drawn or re.search(r'aria-label="[^"]{20,}"', drawn)


def test_anchors_are_unique_and_links_lead_somewhere(html):
    anchors = re.findall(r' id="([^"]*)"', html)
    assert len(set(anchors)) == len(anchors)
    assert set(re.findall(r'href="#([^"]*)"', html)) <= set(anchors)


def test_published_numbers_say_how_they_differ(results):
    (of_task,) = [[r for r in results if r.task.name == "aurora_bp_sbp"]]
    shown = overview.render({"aurora_bp_sbp": of_task}, {"aurora_bp_sbp": best.Standing()})
    assert_names(shown, "◇ 1 published result", "protocol not stated")
    assert shown.count('class="hollow"') == 1


def test_the_answer_is_right_about_few_models_and_undefined_tasks(results):
    first = results[0]
    by_task = {first.task.name: [first]}
    alone = overview.answer(by_task, {first.task.name: best.Standing(first.row)})
    assert_names(alone, first.row, "1 task")
    none = overview.answer(
        {first.task.name: [first, dataclasses.replace(first, model="other")]},
        {first.task.name: best.Standing()},
    )
    assert_names(none, "1 task has no")


def test_a_page_without_tasks_is_a_page():
    about = {**page_samples.ABOUT, "costs": {}}
    assert_names(page.render(about, [], [], [], [], {}), "<h1>Encoder evaluation", "settings")
