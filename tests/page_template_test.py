"""Pages hold all that they show, and text stays text."""

from matplotlib.figure import Figure

from clef_jax.page import template


def test_text_cannot_become_markup():
    page = template.document(
        "<a>",
        template.facts({"<b>": "<c>"}),
        template.section("<d>", "<e>", template.table(["<f>"], [["1"]])),
        template.folded("<g>"),
    )
    for name in "abcdefg":
        assert f"&lt;{name}&gt;" in page
        assert f"<{name}>" not in page


def test_a_section_may_have_an_anchor():
    assert '<section id="costs"><h2>What' in template.section("What it costs", "", anchor="costs")
    assert "<section><h2>What" in template.section("What it costs", "")


def test_a_picture_is_inside_the_page():
    found = template.picture(Figure(figsize=(1, 1)), 'an "empty" one')
    assert 'src="data:image/png;base64,' in found
    assert "&quot;empty&quot;" in found
