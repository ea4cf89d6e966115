"""Pages are self-contained, and text is escaped."""

from matplotlib.figure import Figure

from clef_jax.page import template


def test_text_cannot_become_markup():
    page = template.document(
        "<a>",
        template.description_list({"<b>": "<c>"}),
        template.section("<d>", "<e>", template.table(["<f>"], [["1"]], name="<h>")),
        template.folded("<g>", caption="<i>", gist="<j>"),
        template.notes(["<k>"]),
        template.links({"x": "<l>"}),
    )
    for name in "abcdefghijkl":
        assert f"&lt;{name}&gt;" in page
        assert f"<{name}>" not in page


def test_a_section_may_have_an_anchor():
    assert '<section id="costs"><h2>What' in template.section("What it costs", "", anchor="costs")
    assert "<section><h2>What" in template.section("What it costs", "")


def test_a_picture_is_inside_the_page():
    found = template.picture(Figure(figsize=(1, 1)), 'an "empty" one')
    assert 'src="data:image/png;base64,' in found
    assert "&quot;empty&quot;" in found


def test_a_page_may_load_nothing_and_is_recognised(tmp_path):
    page = template.document("Results", template.section("Scores", ""))
    assert "default-src &#x27;none&#x27;" in page or "default-src 'none'" in page
    assert "http" not in page.replace("http-equiv", "")
    (tmp_path / "ours.html").write_text(page)
    assert template.is_document(tmp_path / "ours.html", "Results")
    assert not template.is_document(tmp_path / "ours.html", "Other results")


def test_a_page_of_an_earlier_version_is_recognised(tmp_path):
    earlier = (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width"><title>Results</title><style>\n'
        "body { font: 16px/1.5 system-ui, sans-serif; color: #1b263b;"
    )
    (tmp_path / "earlier.html").write_text(earlier)
    assert template.is_document(tmp_path / "earlier.html", "Results")


def test_the_first_cell_of_a_row_is_its_header():
    table = template.table(("model", "auroc"), [["clef", "0.9"]], name="scores")
    assert '<th scope="row">clef</th><td>0.9</td>' in table
    assert 'tabindex="0"' in table
    assert 'data-name="scores"' in table
