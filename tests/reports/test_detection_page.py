"""The report holds what a person needs to know, and nothing that a browser would obey or fetch."""

import html
import re
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dgsnet import Verdict, __version__
from dgsnet.artifacts.calibration import Calibration
from dgsnet.core.errors import DgsnetError
from dgsnet.inference.heatmap import Heatmap
from dgsnet.inference.verdict import PLAIN
from dgsnet.reports.detection_page import open_report
from dgsnet.reports.html_shell import SIDE
from tests.support.html import Page

DETECTOR: Any = SimpleNamespace(
    name="models/<mine>", fingerprint="0123456789abcdef" * 4, config=SimpleNamespace(calibration=Calibration(real=0.25, generated=0.75))
)
SHA = "c0ffee" * 10 + "cafe"


@pytest.fixture
def written(tmp_path):
    """Write a report of some cards: its page and its source."""

    def write(*cards):
        target = tmp_path / "deep" / "page.html"
        with open_report(target, DETECTOR) as report:
            for card in cards:
                report.write(*card)
        assert list(target.parent.iterdir()) == [target]
        content = target.read_text(encoding="utf-8")
        return Page(content), content

    return write


def verdict(**facts):
    known: dict[str, Any] = {"path": "in/a.png", "model": "mine", "sha256": SHA, "score": 0.9321, "logit": 2.6197}
    known |= {"verdict": "ai-generated", "width": 40, "height": 30, "format": "PNG"}
    return Verdict(**known | facts)


def heatmap(colour, size=(40, 30)):
    return Heatmap(Image.new("RGB", size, colour), np.zeros(49), np.zeros((49, 4), np.int64), 0.4567)


def test_a_card_says_what_was_found(written):
    page, _ = written((verdict(warnings=["low_resolution", "never_seen_before"]),))
    for said in (
        *("a.png", "in/a.png", "Looks AI-generated", "Score 0.932", SHA, "40 x 30", "PNG", "mine", "2.620"),
        *(PLAIN["low_resolution"], "Warning: never seen before"),
    ):
        assert said in page.text
    assert any(attributes.get("style") == "left: 93.2%" for _, attributes in page.tags)


@pytest.mark.parametrize(
    ("answer", "words"),
    [("ai-generated", "Looks AI-generated"), ("real", "Looks like a photograph"), ("inconclusive", "Inconclusive: the model cannot tell")],
)
def test_each_verdict_has_its_words(written, answer, words):
    page, _ = written((verdict(verdict=answer),))
    assert words in page.text
    assert ("section", {"class": answer}) in page.tags


def test_a_failed_image_has_a_card_with_its_reason(written):
    page, _ = written((Verdict("in/b.png", error="in/b.png: is empty; replace it", model="mine"),))
    assert "Not scored is empty; replace it file in/b.png model mine" in page.text
    assert "Score 0" not in page.text
    assert page.pictures() == []


def test_the_head_says_what_the_model_is_and_how_far_to_trust_it(written):
    page, _ = written((verdict(),), (verdict(verdict="real"),), (verdict(),), (Verdict(None, error="image: is empty"),))
    for said in (
        *("dgsnet: 4 images", "Looks AI-generated: 2 · Looks like a photograph: 1 · Not scored: 1", "a signal, not proof"),
        *(
            "0.75 and above looks AI-generated, below 0.25 looks",
            f"Model models/<mine>, fingerprint 0123456789abcdef, dgsnet {__version__}",
        ),
    ):
        assert said in page.text
    assert "heatmap" not in page.text
    assert "dgsnet: 1 image " in written((verdict(),))[0].text + " "


def test_pictures_are_inside_and_reduced(written):
    pixels = np.zeros((300, 4 * SIDE, 3), np.uint8)
    pixels[..., 1] = 200
    drawn = heatmap((200, 0, 0), (4 * SIDE, 300))
    page, _ = written((verdict(), pixels, drawn), (verdict(), pixels[:30, :40], None))
    pictures = page.pictures()
    assert [picture.size for picture in pictures] == [(SIDE, 75), (SIDE, 75), (40, 30)]
    assert [picture.getpixel((5, 5))[:2] for picture in pictures] == [(0, 200), (200, 0), (0, 200)]
    assert drawn.image.size == (4 * SIDE, 300)
    assert "towards photograph towards AI-generated" in page.text
    assert "full colour moves the logit of 2.62 by 0.46" in page.text


def test_nothing_from_outside_is_obeyed_or_fetched(written):
    name = "in/<script>alert(1)</script>\"'&amp;\u202e\x1b$score${name}\udcff.png"
    nasty = Verdict(name, SHA, error=f"{name}: <img src=https://example.org/x.png>")
    warned = verdict(path=name, warnings=["<b>new</b>"], model=name)
    page, content = written((nasty,), (warned, np.zeros((30, 40, 3), np.uint8), heatmap("white")))
    assert {tag for tag, _ in page.tags} == {
        *("html", "head", "meta", "title", "style", "body", "main", "section", "h1", "h2", "p", "b", "div", "i", "span"),
        *("dl", "dt", "dd", "figure", "img", "figcaption"),
    }
    linked = [value for _, attributes in page.tags for key, value in attributes.items() if key in {"src", "href", "srcset", "action"}]
    assert all(value.startswith("data:image/jpeg;base64,") for value in linked)
    assert not re.search(r"url\(|@import|\bon\w+=", content)
    policy = {"http-equiv": "Content-Security-Policy", "content": "default-src 'none'; img-src data:; style-src 'unsafe-inline'"}
    assert ("meta", policy) in page.tags
    assert "in/<script>alert(1)</script>\"'&amp;\\u202e\\x1b$score${name}\\udcff.png" in page.text
    assert "\u202e" not in html.unescape(content)
    shown = "script>\"'&amp;\\u202e\\x1b$score${name}\\udcff.png"
    alternatives = [attributes["alt"] for tag, attributes in page.tags if tag == "img"]
    assert alternatives == [f"{shown}, reduced", f"heatmap of {shown}"]
    assert "Warning: <b>new</b>" in page.text


def test_an_interrupted_report_leaves_nothing(tmp_path):
    def interrupted():
        with open_report(tmp_path / "page.html", DETECTOR) as report:
            report.write(verdict())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []


def test_another_ending_is_refused(tmp_path):
    with pytest.raises(DgsnetError, match=r"page\.pdf: expected a name ending in \.html"), open_report(tmp_path / "page.pdf", DETECTOR):
        pass
