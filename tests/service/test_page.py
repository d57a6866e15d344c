"""The page of `dgsnet serve` as it is sent, and the report it offers; `test_page_browser.py` drives it with a browser."""

import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from importlib import resources
from typing import get_args

import pytest
from PIL import PngImagePlugin

from dgsnet.inference.verdict import CONTRADICTION, PLAIN
from dgsnet.provenance.c2pa import Signature, Signer
from dgsnet.reports.detection_page import SIGNATURES, SIGNERS, WORDS
from dgsnet.service.keys import Keys, add_key
from dgsnet.service.page import POLICY
from tests.support.html import Page
from tests.support.serving import PNG, SETTINGS, encoded, post, refused, serving

FILES = {
    file.name: file.read_text()
    for file in resources.files("dgsnet.service.page").iterdir()
    if file.name.endswith((".html", ".css", ".js", ".svg"))
}


@pytest.fixture(scope="module")
def client(detector):
    with serving(detector) as (client, _):
        yield client


class Tags(HTMLParser):
    def __init__(self, content):
        super().__init__()
        self.tags = []
        self.feed(content)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))


# --- files ---


def test_all_of_it_is_served_under_a_strict_policy(client):
    kinds = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
    assert {"index.html", "page.css", "page.js", "icon.svg"} <= FILES.keys()
    for name, content in FILES.items():
        answer = client.get("/" if name == "index.html" else f"/page/{name}")
        assert (answer.status_code, answer.text) == (200, content)
        assert answer.headers["content-type"].partition(";")[0] == kinds[name.rpartition(".")[2]]
        assert answer.headers["content-security-policy"] == POLICY
        assert answer.headers["x-content-type-options"] == "nosniff"
    allowed = dict(directive.split(" ", 1) for directive in POLICY.split("; "))
    assert allowed["default-src"] == "'none'"
    assert not re.search(r"unsafe|http|data:|\*", POLICY)


def test_only_its_own_files_are_served(client):
    for path in ("/page/__init__.py", "/page/", "/page/../api.py", "/page/%2e%2e%2fapi.py", "/page/nothing.js"):
        assert refused(client.get(path)) == (404, "not_found")


def test_nothing_is_inline_and_no_other_host_is_named():
    tags = Tags(FILES["index.html"]).tags
    assert not [attributes for _, attributes in tags if any(name == "style" or name.startswith("on") for name in attributes)]
    assert all(attributes.get("src", "").startswith("page/") for tag, attributes in tags if tag == "script")
    linked = {attributes[name] for _, attributes in tags for name in ("src", "href") if name in attributes}
    assert {link for link in linked if not link.startswith("#")} == {"page/icon.svg", "page/page.css", "page/page.js"}
    for name, content in FILES.items():
        named = set(re.findall(r"(?:https?:)?//[\w.-]+\.\w+[\w./-]*", re.sub(r"^\s*//.*$", "", content, flags=re.M)))
        assert named <= {"http://www.w3.org/2000/svg"}, name
        assert not re.search(
            r"innerHTML|insertAdjacentHTML|document\.write|\beval\(|localStorage|sessionStorage|document\.cookie", content
        ), name


def test_what_it_is_made_of_fits_together():
    """Imports, templates' parts, ids and shapes that a script names are there."""
    tags = Tags(FILES["index.html"]).tags
    ids = [attributes["id"] for _, attributes in tags if "id" in attributes]
    parts = {attributes["data-part"] for _, attributes in tags if "data-part" in attributes}
    assert len(ids) == len(set(ids))
    for name, content in FILES.items():
        if name.endswith(".js"):
            assert set(re.findall(r'from "\./([\w.]+)"', content)) <= FILES.keys()
            assert set(re.findall(r'\bpart\("([\w-]+)"\)|getElementById\("([\w-]+)"\)', content)) <= {(one, "") for one in ids} | {
                ("", one) for one in ids
            }
            used = re.findall(r"\bparts\.(?!js\b)([a-z]\w*)", content) + re.findall(r'\bparts\["([\w-]+)"\]', content)
            assert set(used) <= parts, name
    for kind in ("ai-generated", "real", "inconclusive"):
        assert f'id="shape-{kind}"' in FILES["index.html"]
        assert f"<b>{WORDS[kind].partition(':')[0]}</b>" in FILES["index.html"]


def test_the_page_needs_no_key_and_what_it_asks_for_does(detector, tmp_path):
    key = add_key(tmp_path / "keys", "me")
    with serving(detector, SETTINGS, Keys.load(tmp_path / "keys")) as (client, _):
        assert client.get("/").status_code == client.get("/page/page.js").status_code == 200
        assert refused(client.get("/v1/models")) == refused(post(client, PNG, path="/v1/report")) == (401, "unauthorised")
        assert post(client, PNG, path="/v1/report?heatmap=false", headers={"authorization": f"Bearer {key}"}).status_code == 200


def test_the_service_says_what_the_page_needs_to_know(client, detector):
    (model,) = client.get("/v1/models").json()["models"]
    look = detector.config.preprocessing
    assert model["words"] == {
        "verdicts": WORDS,
        "warnings": PLAIN,
        "signatures": SIGNATURES,
        "signers": SIGNERS,
        "contradictions": CONTRADICTION,
    }
    assert set(SIGNATURES) == set(get_args(Signature))
    assert {*SIGNERS, "none"} == set(get_args(Signer))
    assert model["view"] == {"kind": look.view, "size": look.size, "quadrants": look.multi_crop}
    assert model["calibrated_on"] is None


# --- report ---


def test_report_of_a_picture(client, detector, monkeypatch):
    import tempfile

    for name in ("TemporaryFile", "NamedTemporaryFile", "mkstemp"):
        monkeypatch.setattr(tempfile, name, lambda *_, **__: pytest.fail("a report went to disk"))
    text = PngImagePlugin.PngInfo()
    text.add_text("parameters", "a cat")
    data = encoded(pnginfo=text)
    (row,) = post(client, data).json()["results"]
    answer = post(client, data, path="/v1/report")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["content-disposition"] == f'attachment; filename="dgsnet-report-{row["sha256"][:12]}.html"'
    page = Page(answer.text)
    calibration = detector.config.calibration
    for said in (
        *(row["sha256"], f"Score {row['score']:.3f}", WORDS[row["verdict"]], "0.png", "64 x 64", PLAIN["low_resolution"]),
        *(detector.name, detector.fingerprint[:16], f"{calibration.generated:.3g} and above looks AI-generated", "a signal, not proof"),
        *("png.parameters generated : a cat", row["provenance"]["summary"], f"request {answer.headers['x-request-id']}"),
    ):
        assert said in page.text
    assert [picture.size for picture in page.pictures()] == [(64, 64), (64, 64)]
    assert "default-src 'none'" in answer.text


def test_report_without_a_heatmap(client):
    assert len(Page(post(client, PNG, path="/v1/report?heatmap=false").text).pictures()) == 1


def test_reports_that_are_refused(client, detector):
    for data, expected in (
        (PNG[:200], (422, "broken_image")),
        (encoded(side=8), (422, "too_small")),
        (b"<svg/>", (415, "unsupported_format")),
    ):
        assert refused(post(client, data, path="/v1/report")) == expected
    assert refused(post(client, PNG, PNG, path="/v1/report")) == (413, "too_many_files")
    assert refused(post(client, PNG, path="/v1/report?heatmap=maybe")) == (422, "invalid_request")
    described = client.get("/openapi.json").json()["paths"]["/v1/report"]["post"]
    assert set(described["responses"]) == {"200", "400", "401", "413", "415", "422", "429", "503"}
    with serving(detector, replace(SETTINGS, heatmap_queue=0)) as (full, _):
        assert refused(post(full, PNG, path="/v1/report")) == (429, "queue_full")


def test_a_hostile_name_is_text_in_a_report(client):
    name = "<script>alert(1)</script>.png"
    answer = client.post("/v1/report?heatmap=false", files={"file": (name, io.BytesIO(PNG))})
    assert "<script" not in answer.text
    assert name in Page(answer.text).text
