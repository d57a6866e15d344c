"""The page of `dgsnet serve` in Chromium: `make test-browser`. In every test the page may ask only the service, and may log no error."""

import csv
import io
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, PngImagePlugin
from playwright.sync_api import expect, sync_playwright

from dgsnet.images.decode import decode
from dgsnet.images.preprocess import Preprocessing
from dgsnet.inference.detector import Detector
from dgsnet.inference.verdict import COLUMNS, PLAIN
from dgsnet.provenance import CAUTION
from dgsnet.service.keys import Keys, add_key
from tests.support.models import with_preprocessing
from tests.support.pictures import textured
from tests.support.serving import SETTINGS, serving

pytestmark = pytest.mark.browser

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium")
ARGUMENTS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
]
PHONE = {"width": 375, "height": 812}
WORDS = {"ai-generated": "Looks AI-generated", "real": "Looks like a photograph", "inconclusive": "Inconclusive"}
SHORT = {"ai-generated": "AI-generated", "real": "Photograph", "inconclusive": "Inconclusive"}
SECONDS = 60_000  # ms: a busy machine fails no test, only a page that never comes to it


@pytest.fixture(scope="module")
def banded(tiny_model, tmp_path_factory):
    """The tiny model with a band between its thresholds."""
    folder = tmp_path_factory.mktemp("models") / "banded"
    shutil.copytree(tiny_model, folder)
    config = json.loads((folder / "config.json").read_text())
    config["calibration"] |= {"real": 0.3, "generated": 0.7}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="module")
def address(banded):
    """Where `dgsnet serve` answers."""
    command = [sys.executable, "-m", "dgsnet", "serve", "--model", banded, "--port", "0", "--decoders", "1", "--rate", "0"]
    process = subprocess.Popen([*command, "--request-seconds", "60", "--decode-seconds", "60"], stderr=subprocess.PIPE, text=True)
    try:
        yield next(match[0] for line in process.stderr if (match := re.search(r"http://127\.0\.0\.1:\d+", line)))
    finally:
        process.terminate()
        process.wait(60)
        process.stderr.close()


@pytest.fixture(scope="module")
def browser():
    if not CHROMIUM:
        pytest.fail("these tests need Chromium: apt-get install chromium, or CHROMIUM=/path/to/it; leave them out with -m 'not browser'")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def tab(browser):
    """Open an address; afterwards, nothing but the service was asked and no script or policy complained."""
    contexts, asked, complaints = [], [], []

    def open_tab(address, **options):
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, "reduced_motion": "reduce"} | options)
        context.set_default_timeout(SECONDS)
        contexts.append(context)
        context.on("request", lambda request: asked.append((address, request.url)))
        context.on("weberror", lambda error: complaints.append(str(error.error)))
        # The browser itself notes answers of 4xx and cut connections there.
        context.on(
            "console", lambda note: complaints.append(note.text) if note.type == "error" and "Failed to load" not in note.text else None
        )
        page = context.new_page()
        page.goto(address)
        return page

    expect.set_options(timeout=SECONDS)
    yield open_tab
    for context in contexts:
        context.close()
    assert asked
    assert [url for address, url in asked if not url.startswith((f"{address}/", f"blob:{address}/"))] == []
    assert complaints == []


@pytest.fixture
def page(tab, address):
    page = tab(address)
    page.locator("#intake").wait_for()
    return page


def picture(name="photo.png", side=256, fake=False, seed=1, **options):
    stream = io.BytesIO()
    Image.fromarray(textured(np.random.default_rng(seed), fake, side)).save(stream, "PNG", **options)
    return {"name": name, "mimeType": "image/png", "buffer": stream.getvalue()}


def marked(name="marked.png"):
    text = PngImagePlugin.PngInfo()
    text.add_text("parameters", "a cat, Steps: 30")
    return picture(name, pnginfo=text)


BROKEN = {"name": "broken.png", "mimeType": "image/png", "buffer": picture()["buffer"][:500]}
SMALL = picture("small.png", side=64)


def give(page, *files):
    page.set_input_files("#files", list(files))


def percent(score):
    return "under 1 %" if score < 0.005 else "over 99 %" if score >= 0.995 else f"{round(100 * score)} %"


def spaced(text):
    return " ".join(text.split())


def row_of(banded, file):
    return Detector.from_pretrained(banded).detect(file["buffer"])


# --- one picture ---


def test_a_picture_gets_its_verdict(page, banded):
    small = picture("small.png", side=64, pnginfo=None)
    give(page, small)
    expected = row_of(banded, small)
    result = page.locator("#result")
    expect(result.locator(".words")).to_have_text(WORDS[expected.verdict])
    assert spaced(result.locator(".bubble").inner_text()) == percent(expected.score)
    scale = spaced(result.get_by_role("img", name="Probability of being AI-generated").get_attribute("aria-label"))
    assert f"Probability of being AI-generated: {percent(expected.score)}" in scale
    assert "Below 30 % photograph, from 70 % on AI-generated" in scale
    assert expected.warnings == ["low_resolution"]
    expect(result.locator(".warnings li")).to_have_text(PLAIN["low_resolution"])
    said = spaced(page.locator("#announce").inner_text())
    assert said.startswith("small.png: ")
    assert said.endswith("1 warning.")
    page.get_by_text("File, model and request").click()
    facts = result.locator("dl").inner_text()
    for fact in (expected.sha256, f"{expected.score:.4f}", "banded", "dgsnet 0.", "low_resolution"):
        assert fact in facts
    expect(page.get_by_role("heading", name="What this verdict means and does not mean")).to_be_visible()


def test_what_the_file_says_of_its_origin_stands_beside(page):
    give(page, marked())
    panel = page.locator(".provenance")
    expect(panel).to_be_visible()
    assert CAUTION in panel.inner_text()
    expect(panel.locator("li")).to_have_text("Says: AI-generatedpng.parameters: a cat, Steps: 30")
    assert "no part of the probability" in panel.inner_text()


def test_the_heatmap_lies_over_the_picture(page):
    give(page, picture())
    overlay = page.locator(".overlay")
    expect(overlay).to_be_hidden()
    page.get_by_role("button", name="Show heatmap").click()
    expect(overlay).to_be_visible()
    photo = page.locator(".photo")
    assert overlay.bounding_box() == photo.bounding_box()
    assert overlay.evaluate("image => [image.naturalWidth, image.naturalHeight]") == [256, 256]
    slider = page.get_by_role("slider", name="Heatmap over picture")
    expect(slider).to_be_focused()
    for key, shown in (("Home", 0), ("End", 1), ("ArrowLeft", 0.95)):
        page.keyboard.press(key)
        assert float(overlay.evaluate("image => getComputedStyle(image).opacity")) == shown
        assert spaced(slider.get_attribute("aria-valuetext")) == f"{round(100 * shown)} %"


@pytest.mark.parametrize("heatmap", [True, False])
def test_the_report_opens_and_holds_the_hash(page, tab, banded, tmp_path, heatmap):
    file = marked()
    give(page, file)
    page.get_by_label("with heatmap").set_checked(heatmap)
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Download report").click()
    expected = row_of(banded, file)
    target = tmp_path / waiting.value.suggested_filename
    assert target.name == f"dgsnet-report-{expected.sha256[:12]}.html"
    waiting.value.save_as(target)
    opened = page.context.browser.new_page()
    opened.goto(target.as_uri())
    text = opened.locator("body").inner_text()
    for said in (expected.sha256, "banded", "a signal, not proof", "a cat, Steps: 30", "0.7 and above looks AI-generated"):
        assert said in text
    assert opened.locator("img").count() == 1 + heatmap
    opened.close()


def test_a_broken_file_is_explained(page):
    give(page, BROKEN)
    result = page.locator("#result")
    expect(result.locator(".words")).to_have_text("Not scored")
    expect(result.locator(".verdict")).to_contain_text("damaged or incomplete")
    expect(page.locator("#announce")).to_contain_text("broken.png: not scored. This file is damaged")
    expect(result.locator(".scale")).to_be_hidden()
    expect(page.get_by_role("button", name="Download report")).to_be_hidden()


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ({"name": "a.svg", "mimeType": "image/svg+xml", "buffer": b"<svg/>"}, "Only JPEG, PNG, WebP, AVIF, HEIC or GIF"),
        (picture("dot.png", side=8), "too few pixels"),
    ],
)
def test_other_files_that_cannot_be_scored(page, file, said):
    give(page, file)
    expect(page.locator("#result .verdict")).to_contain_text(said)


def test_a_file_that_is_too_large(page, tmp_path):
    with (tmp_path / "a.png").open("wb") as stream:
        stream.truncate(64 * 2**20 + 1)
    give(page, tmp_path / "a.png")
    expect(page.locator("#result .verdict")).to_contain_text("larger than 64 MB")


def test_a_service_that_is_gone_can_be_asked_again(page):
    page.context.set_offline(True)
    give(page, picture())
    expect(page.locator("#result .verdict")).to_contain_text("does not answer")
    page.context.set_offline(False)
    page.get_by_role("button", name="Try again").click()
    expect(page.locator("#result .scale")).to_be_visible()


# --- several ---


def test_several_pictures_are_a_table_and_a_csv(page, banded):
    files = [picture("b=1,2.png", fake=True), picture("=a.png", seed=2), SMALL, BROKEN]
    give(page, *files)
    expect(page.locator("#announce")).to_contain_text("4 pictures done.")
    expect(page.locator("#progress")).to_be_hidden()
    expected = [row_of(banded, file) for file in files]
    rows = page.locator("#rows tr")
    assert rows.count() == 4
    for number, row in enumerate(expected[:3]):
        assert spaced(rows.nth(number).inner_text()).startswith(f"{files[number]['name']} {SHORT[row.verdict]} {percent(row.score)}")
    assert "Not scored" in rows.nth(3).inner_text()
    assert "damaged" in rows.nth(3).inner_text()
    assert "Not scored: 1" in page.locator("#counts").inner_text()

    page.get_by_role("button", name="Probability of AI").click()
    heading = page.locator("th[data-sort=score]")
    assert heading.get_attribute("aria-sort") == "descending"
    order = [files[number]["name"] for number in sorted(range(3), key=lambda number: -expected[number].score)]
    assert page.locator("#rows .open").all_inner_texts() == [*order, "broken.png"]
    page.get_by_role("button", name="Picture", exact=True).click()
    assert page.locator("#rows .open").all_inner_texts() == ["=a.png", "b=1,2.png", "broken.png", "small.png"]
    assert (heading.get_attribute("aria-sort"), page.locator("th[data-sort=name]").get_attribute("aria-sort")) == ("none", "ascending")

    with page.expect_download() as waiting:
        page.get_by_role("button", name="Download CSV").click()
    read = list(csv.DictReader(waiting.value.path().open(newline="")))
    assert list(read[0]) == [*COLUMNS, "provenance"]
    assert [row["path"] for row in read] == ["b=1,2.png", "'=a.png", "small.png", "broken.png"]  # a formula is text
    assert [(row["sha256"], float(row["score"]), row["verdict"]) for row in read[:3]] == [
        (row.sha256, row.score, row.verdict) for row in expected[:3]
    ]
    assert read[2]["warnings"] == "low_resolution"
    assert json.loads(read[0]["provenance"])["findings"] == []
    assert (read[3]["score"], "broken" in read[3]["error"] or "damaged" in read[3]["error"]) == ("", True)


def test_a_row_opens_below_the_table_and_closes_to_where_one_was(page):
    give(page, picture("one.png"), SMALL, marked())
    expect(page.locator("#announce")).to_contain_text("3 pictures done.")
    expect(page.locator("#result")).to_be_hidden()
    page.get_by_role("button", name="small.png").click()
    expect(page.locator("#result h2")).to_be_focused()
    expect(page.locator("#result h2")).to_have_text("Result for small.png")
    page.get_by_role("button", name="Back to the table").click()
    expect(page.locator("#result")).to_be_hidden()
    expect(page.get_by_role("button", name="small.png")).to_be_focused()
    page.get_by_role("button", name="Clear all").click()
    expect(page.locator("#batch")).to_be_hidden()
    expect(page.locator("#files")).to_be_focused()


# --- ways in ---

_GIVE = """([kind, bytes]) => {
    const carried = new DataTransfer();
    carried.items.add(new File([new Uint8Array(bytes)], `${kind}.png`, { type: "image/png" }));
    const names = { drop: ["DragEvent", "dataTransfer"], paste: ["ClipboardEvent", "clipboardData"] };
    const [event, field] = names[kind];
    const init = { bubbles: true, cancelable: true, [field]: carried };
    if (kind === "drop") document.body.dispatchEvent(new DragEvent("dragenter", init));
    document.body.dispatchEvent(new window[event](kind, init));
}"""


@pytest.mark.parametrize("kind", ["drop", "paste"])
def test_drop_and_paste(page, kind):
    page.evaluate(_GIVE, [kind, list(picture()["buffer"])])
    expect(page.locator("#result h2")).to_have_text(f"Result for {kind}.png")
    expect(page.locator("#result .scale")).to_be_visible()
    assert page.evaluate("document.documentElement.className") == ""


def test_by_keyboard_alone(page):
    # From here on dialogs are intercepted. Asked for in the moment of the key press, as `expect_file_chooser` does by itself, that can come
    # too late on a busy machine: the dialog then belongs to the browser, and nobody hears of it.
    page.on("filechooser", lambda _: None)
    keys = page.keyboard
    keys.press("Tab")
    expect(page.get_by_role("link", name="Skip to the page")).to_be_focused()
    keys.press("Enter")
    keys.press("Tab")
    expect(page.locator("#files")).to_be_focused()
    assert page.locator("label[for=files]").evaluate("label => getComputedStyle(label).outlineStyle") == "solid"
    with page.expect_file_chooser() as choosing:
        keys.press("Space")
    choosing.value.set_files([picture()])
    expect(page.locator("#result .scale")).to_be_visible()
    tab_to(page, page.get_by_role("button", name="Show heatmap"))
    keys.press("Enter")
    expect(page.get_by_role("slider")).to_be_focused()
    tab_to(page, page.get_by_label("with heatmap"))
    keys.press("Space")
    expect(page.get_by_label("with heatmap")).not_to_be_checked()
    tab_to(page, page.get_by_role("button", name="Download report"), "Shift+Tab")
    assert page.locator(":focus").evaluate("button => getComputedStyle(button).outlineWidth") == "3px"
    with page.expect_download():
        keys.press("Enter")
    expect(page.get_by_role("button", name="Download report")).to_be_focused()


def tab_to(page, wanted, key="Tab"):
    for _ in range(15):
        page.keyboard.press(key)
        if wanted.evaluate("one => one === document.activeElement"):
            return
    pytest.fail("it cannot be reached")


# --- for whom, and where ---


def test_phone_width(tab, address):
    page = tab(address, viewport=PHONE)
    page.locator("#intake").wait_for()
    assert fits(page)
    long_name = picture(f"{'a-very-long-name-of-a-picture' * 6}.png")
    give(page, long_name)
    page.get_by_role("button", name="Show heatmap").click()
    page.locator(".slider").wait_for()
    page.get_by_text("File, model and request").click()
    assert fits(page)
    give(page, SMALL, BROKEN, marked())
    expect(page.locator("#announce")).to_contain_text("4 pictures done.")
    assert fits(page)
    page.get_by_role("button", name="broken.png").click()
    expect(page.locator("#result .words")).to_have_text("Not scored")
    assert fits(page)


def fits(page):
    return page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


_ACCESS = """() => {
    const wrong = [];
    const shown = (one) => one.checkVisibility({ visibilityProperty: true }) && !one.closest("[aria-hidden=true]");
    const say = (one, what) => wrong.push(`${what}: ${one.outerHTML.slice(0, 120)}`);
    const all = [...document.body.querySelectorAll("*")].filter(shown);
    const named = (one) => one.getAttribute("aria-label") || one.textContent.trim()
        || [...(one.labels ?? [])].some((label) => label.textContent.trim())
        || (one.getAttribute("aria-labelledby") && document.getElementById(one.getAttribute("aria-labelledby"))?.textContent.trim());
    for (const one of all) {
        if (one.matches("img") && !one.hasAttribute("alt")) say(one, "no alt");
        if (one.matches("button, input, a, progress, table, [role=img], summary, select") && !named(one)) say(one, "no name");
        if (one.matches("[tabindex]") && one.tabIndex > 0) say(one, "tab order by hand");
        for (const name of ["aria-labelledby", "aria-describedby"])
            for (const id of (one.getAttribute(name) ?? "").split(" "))
                if (id && !document.getElementById(id)) say(one, `no ${id}`);
        if (one.matches("button, .button") && one.getBoundingClientRect().height < 24) say(one, "too small to hit");
    }
    const levels = all.filter((one) => /^H[1-6]$/.test(one.tagName)).map((one) => Number(one.tagName[1]));
    if (levels.filter((level) => level === 1).length !== 1) wrong.push(`h1: ${levels}`);
    levels.forEach((level, at) => { if (at && level > levels[at - 1] + 1) wrong.push(`headings: ${levels}`); });
    if (!document.documentElement.lang || !document.title || !document.querySelector("main")) wrong.push("lang, title or main");

    const paint = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    const rgb = (colour) => {
        paint.clearRect(0, 0, 1, 1);
        paint.fillStyle = colour;
        paint.fillRect(0, 0, 1, 1);
        return [...paint.getImageData(0, 0, 1, 1).data];
    };
    const light = (colour) => {
        const [r, g, b] = colour.slice(0, 3).map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const ground = (one) => {
        for (let at = one; at; at = at.parentElement) {
            const colour = rgb(getComputedStyle(at).backgroundColor);
            if (colour[3] === 255) return colour;
        }
        return rgb("white");
    };
    let texts = 0;
    for (const one of all) {
        if (![...one.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim())) continue;
        if (one.matches(".sr, .sr *, .skip")) continue;
        const [over, under] = [light(rgb(getComputedStyle(one).color)), light(ground(one))].sort((a, b) => b - a);
        texts += 1;
        const contrast = (over + 0.05) / (under + 0.05);
        if (contrast < 4.5) say(one, `contrast ${contrast.toFixed(2)}`);
    }
    if (texts < 20) wrong.push(`only ${texts} texts`);
    return wrong;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_names_headings_and_contrast(tab, address, scheme):
    page = tab(address, color_scheme=scheme)
    page.locator("#intake").wait_for()
    assert page.evaluate(_ACCESS) == []
    give(page, SMALL)
    page.get_by_role("button", name="Show heatmap").click()
    page.locator(".slider").wait_for()
    page.get_by_text("File, model and request").click()
    assert page.evaluate(_ACCESS) == []
    give(page, marked(), BROKEN, picture(fake=True))
    expect(page.locator("#announce")).to_contain_text("4 pictures done.")
    for name in ("marked.png", "broken.png"):
        page.get_by_role("button", name=name).click()
        expect(page.locator("#result h2")).to_be_focused()
        assert page.evaluate(_ACCESS) == []


def test_verdicts_differ_by_shape_and_words_too(page):
    for kind in WORDS:
        assert page.locator(f'.bands [data-verdict="{kind}"] use').get_attribute("href") == f"#shape-{kind}"


def test_motion_is_reduced_where_asked_for(page, tab, address):
    moving = (
        "() => { const bar = document.createElement('progress'); document.body.append(bar); return getComputedStyle(bar).animationName; }"
    )
    assert page.evaluate(moving) == "none"
    assert tab(address, reduced_motion="no-preference").evaluate(moving) == "passing"


def test_the_policy_holds_in_the_browser(browser, address):
    page = browser.new_page()
    page.goto(address)
    tried = """async () => {
        const blocked = [];
        document.addEventListener("securitypolicyviolation", (event) => blocked.push(event.effectiveDirective));
        await fetch("http://127.0.0.1:9/").catch(() => {});
        new Image().src = "http://127.0.0.1:9/a.png";
        const script = document.createElement("script");
        try { script.text = "window.run = true"; document.head.append(script); } catch (error) { blocked.push(error.name); }
        try { document.body.innerHTML = "<b></b>"; } catch (error) { blocked.push(error.name); }
        document.body.setAttribute("style", "color: red");
        await new Promise((done) => setTimeout(done, 200));
        return [blocked, window.run === undefined];
    }"""
    blocked, untouched = page.evaluate(tried)
    assert untouched
    assert {"connect-src", "img-src", "style-src-attr", "TypeError"} <= set(blocked)
    page.close()


def test_a_key_is_asked_for_and_kept_nowhere(tab, detector, tmp_path):
    key = add_key(tmp_path / "keys", "me")
    with serving(detector, replace(SETTINGS, rate=120), Keys.load(tmp_path / "keys")) as (client, _):
        page = tab(str(client.base_url).rstrip("/"))
        field = page.get_by_label("Key", exact=True)
        expect(field).to_be_focused()
        expect(page.locator("#intake")).to_be_hidden()
        field.fill("dgs_wrong")
        page.keyboard.press("Enter")
        expect(page.locator("#key-error")).to_have_text("The service does not know this key.")
        field.fill(key)
        page.keyboard.press("Enter")
        expect(page.locator("#intake")).to_be_visible()
        expect(field).to_be_hidden()
        give(page, *(picture(f"{number}.png", side=64, seed=number) for number in range(14)))  # more than may be sent at once: it waits
        expect(page.locator("#announce")).to_contain_text("14 pictures done.")
        assert page.locator("#rows tr").count() == 14
        expect(page.locator("#counts")).not_to_contain_text("Not scored")
        assert page.evaluate(
            "[localStorage.length, sessionStorage.length, document.cookie, document.documentElement.outerHTML.includes('dgs_')]"
        ) == [*(0, 0, "", False)]
        page.reload()
        expect(field).to_be_focused()


@pytest.mark.parametrize("quadrants", [False, True])
@pytest.mark.parametrize("size", [(640, 480), (641, 453), (300, 1001), (200, 500), (224, 224), (33, 40)])
@pytest.mark.parametrize("view", ["crop", "resize"])
def test_the_outline_is_where_the_model_looks(page, view, size, quadrants):
    look = Preprocessing(view=view, multi_crop=quadrants)
    pixels = np.zeros((size[1], size[0], 3), np.uint8)
    view_of_model = {"kind": view, "size": look.size, "quadrants": quadrants}
    told = page.evaluate("async (given) => (await import('/page/picture.js')).lookedAt(...given)", [view_of_model, *size])
    parts = look.parts(size[1], size[0])
    assert len(told) == len(parts)
    for box, (x, y, end, low) in zip(told, parts, strict=True):
        boxes = look.take_view_with_boxes(pixels[y:low, x:end])[1]
        (left, top), (right, bottom) = boxes[:, :2].min(axis=0).tolist(), boxes[:, 2:].max(axis=0).tolist()
        assert np.abs(np.array(box) - [x + left, y + top, right - left, bottom - top]).max() <= (view == "resize")


@pytest.mark.parametrize("size", [(640, 480), (640, 447)])
def test_the_time_of_a_heatmap_is_reckoned_from_the_views_it_takes(page, detector, size):
    seen = with_preprocessing(detector, view="crop", multi_crop=True)
    pixels = np.zeros((size[1], size[0], 3), np.uint8)
    views = len(seen.config.preprocessing.parts(size[1], size[0]))
    view_of_model = {"kind": "crop", "size": 224, "quadrants": True}
    told = page.evaluate("async (given) => (await import('/page/picture.js')).passes(...given)", [view_of_model, *size])
    assert told == {
        "score": views,
        "heatmap": views + len(seen.explain(decode(pixels)).evidence),
    }
