"""Pages hold all that they show, and text stays text."""

from matplotlib.figure import Figure

from clef_jax import html_page


def test_text_cannot_become_markup():
    page = html_page.document(
        "<a>",
        html_page.facts({"<b>": "<c>"}),
        html_page.section("<d>", "<e>", html_page.table(["<f>"], [["1"]])),
        html_page.folded("<g>"),
    )
    for name in "abcdefg":
        assert f"&lt;{name}&gt;" in page
        assert f"<{name}>" not in page


def test_a_picture_is_inside_the_page():
    found = html_page.picture(Figure(figsize=(1, 1)), 'an "empty" one')
    assert 'src="data:image/png;base64,' in found
    assert "&quot;empty&quot;" in found
