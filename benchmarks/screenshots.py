"""Takes screenshots of pages, wide and narrow, and measures their weight and length.

`python benchmarks/screenshots.py --out=DIR [PAGE.html ...]`; without pages, it makes one of each
kind from synthetic results. The pictures of the documentation are made by
`python benchmarks/screenshots.py --out=docs/images/pages --for-documentation`. It needs a Chromium
and the extra `browser`.
"""

import argparse
import contextlib
import io
import pathlib
import shutil
import sys
import tempfile
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright import sync_api

WIDTHS = (1280, 400)
_HEIGHT = 900
_TALLEST = 12_000
"""Height above which a screenshot shows the first screen only; a browser draws no more."""
_NUM_COLOURS = 255
_UNFOLD = "document.querySelectorAll('details').forEach(part => (part.open = true))"
TESTS = pathlib.Path(__file__).parents[1] / "tests"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("pages", nargs="*", type=pathlib.Path, help="pages; by default samples")
    parser.add_argument("--out", type=pathlib.Path, required=True, help="folder for the pictures")
    parser.add_argument("--dark", action="store_true", help="as a dark system shows them")
    parser.add_argument("--unfold", action="store_true", help="with all sections unfolded")
    parser.add_argument(
        "--for-documentation", action="store_true", help="the first screen, wide, in few colours"
    )
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        pages = arguments.pages or list(samples(pathlib.Path(folder)))
        if arguments.for_documentation:
            for_documentation(pages, arguments.out)
        else:
            take(pages, arguments.out, dark=arguments.dark, unfold=arguments.unfold)


def samples(folder: pathlib.Path) -> list[pathlib.Path]:
    """Writes a page of each kind from synthetic results, and returns their paths.

    The evaluation is as large as the paper's: 18 tasks and 12 models.
    """
    sys.path.append(str(TESTS))
    import page_samples

    pages = {**page_samples.pages(), "evaluation_18_12": None}
    pages["evaluation_18_12"] = page_samples.evaluation_page(page_samples.results())
    for name, html in pages.items():
        (folder / f"{name}.html").write_text(html, encoding="utf-8")
    return [folder / f"{name}.html" for name in pages]


def take(pages: list[pathlib.Path], out: pathlib.Path, *, dark: bool, unfold: bool) -> None:
    """Writes a PNG of each page at each width, and prints a line about each."""
    with browser_of_this_machine() as browser:
        for path in pages:
            for width in WIDTHS:
                page = browser.new_page(
                    viewport={"width": width, "height": _HEIGHT},
                    color_scheme="dark" if dark else "light",
                )
                page.goto(path.resolve().as_uri())
                if unfold:
                    page.evaluate(_UNFOLD)
                height = page.evaluate("document.documentElement.scrollHeight")
                picture = out / f"{path.stem}_{width}.png"
                page.screenshot(path=str(picture), full_page=height <= _TALLEST)
                size = path.stat().st_size / 1000
                line = f"{path.name}, {width} px wide: {height:,} px long, {size:,.0f} kB"
                sys.stdout.write(f"{line}; {picture}\n")
                page.close()


def for_documentation(pages: list[pathlib.Path], out: pathlib.Path) -> None:
    """Writes a small PNG of the first screen of each page."""
    from PIL import Image

    with browser_of_this_machine() as browser:
        page = browser.new_page(viewport={"width": WIDTHS[0], "height": _HEIGHT})
        for path in pages:
            page.goto(path.resolve().as_uri())
            picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
            file = out / f"{path.stem}.png"
            picture.quantize(_NUM_COLOURS, dither=Image.Dither.NONE).save(file, optimize=True)
            sys.stdout.write(f"{file}: {file.stat().st_size / 1000:,.0f} kB\n")


@contextlib.contextmanager
def browser_of_this_machine() -> Iterator["sync_api.Browser"]:
    """Yields the installed Chromium, and ends the process if there is none."""
    from playwright import sync_api

    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        sys.exit("No Chromium is installed.")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


if __name__ == "__main__":
    main()
