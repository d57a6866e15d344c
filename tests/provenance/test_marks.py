"""Marks of generators, editors and scanners: each row of a table builds the file as the program leaves it; and photographs with every word
that names one in every place where people write."""

import json
import pickle
import struct
import sys
import tomllib
from pathlib import Path

import pytest

from dgsnet.core.errors import MarksError, MissingPackageError
from dgsnet.inference.asked import Asked
from dgsnet.provenance import generators, load_marks, read
from dgsnet.provenance.generators import FREE_TEXT, Marks
from dgsnet.provenance.source_type import ORDER
from tests.support.metadata_files import (
    IPTC,
    SOURCE,
    chunk,
    comment,
    encoded,
    exif_of,
    extended_xmp,
    packet,
    with_chunks,
    with_gif_xmp,
    with_iptc,
    with_segments,
    with_text,
    with_trailer,
    with_xmp,
    xmp_segment,
)

TABLE = tomllib.loads(Path(generators.__file__).with_name("marks.toml").read_text(encoding="utf-8"))

A1111 = (
    "a red cat\nNegative prompt: dog\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, Size: 512x512, Model: example, Version: v1.10.1"
)
FORGE = (
    "a cat\nSteps: 20, Sampler: Euler, Schedule type: Simple, CFG scale: 1, Seed: 5, Size: 896x1152, Model: flux, Version: f2.0.1v1.10.1"
)
SDNEXT = "a cat\nNegative prompt: dog\nSteps: 20, Size: 1024x1024, Seed: 1, CFG scale: 6, App: SD.Next, Version: 1b2c3d4, Model: example"
CIVITAI = 'a cat\nSteps: 30, Sampler: Euler, CFG scale: 4, Seed: 3, Civitai resources: [{"type":"checkpoint","modelVersionId":1}]'
GRAPH = json.dumps({"3": {"class_type": "KSampler", "inputs": {"seed": 5}}})
WORKFLOW = json.dumps({"last_node_id": 9, "last_link_id": 9, "nodes": [{"id": 3, "type": "KSampler"}], "links": []})
SWARM = json.dumps({"sui_image_params": {"prompt": "a cat", "model": "example", "seed": 1, "steps": 4}})
EASY = json.dumps({"prompt": "a cat", "seed": 1, "num_inference_steps": 25, "use_stable_diffusion_model": "example", "sampler_name": "x"})
EASY_LABELS = json.dumps({"Prompt": "a cat", "Seed": 1, "Stable Diffusion model": "example", "Steps": 25})
FOOOCUS = json.dumps({"base_model": "example", "full_prompt": ["a cat"], "steps": 30, "performance": "Speed", "version": "Fooocus v2.5.5"})
DRAW_THINGS = json.dumps({"c": "a cat", "uc": "", "model": "example.ckpt", "seed": 7, "steps": 20, "scale": 4, "sampler": "Euler"})
NOVELAI = json.dumps({"prompt": "1girl", "uc": "lowres", "steps": 28, "scale": 5, "sampler": "k_euler", "seed": 1, "width": 832})
SIGNATURE = "Signature: " + "QUJDRA" * 60 + "=="
UUID = "01234567-89ab-4cde-8f01-23456789abcd"
MIDJOURNEY = f"a cat --ar 2:1 --stylize 80 --v 6 Job ID: {UUID}"
RE_EDIT = json.dumps({"originalPath": "/data/x.jpg", "genAIType": 2, "isBlending": True})


def jpeg(**tags):
    return encoded("JPEG", exif=exif_of(**tags))


def webp(**tags):
    return encoded("WEBP", exif=exif_of(**tags))


def in_holder(name, text):
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
    return f'<{name}><rdf:Alt><rdf:li xml:lang="x-default">{escaped}</rdf:li></rdf:Alt></{name}>'


MARKS = [
    # --- programs on one's own machine
    ("Stable Diffusion web UI", "generated", lambda: with_text(parameters="a cat")),
    ("Stable Diffusion web UI", "generated", lambda: jpeg(UserComment=comment(A1111))),
    ("Stable Diffusion web UI", "generated", lambda: webp(UserComment=comment(A1111, "le"))),
    ("Stable Diffusion web UI", "generated", lambda: encoded("JPEG", comment=A1111.encode())),
    ("Stable Diffusion web UI", "generated", lambda: encoded("GIF", comment=A1111.encode())),
    ("Stable Diffusion WebUI Forge", "generated", lambda: jpeg(UserComment=comment(FORGE))),
    ("Stable Diffusion WebUI Forge", "generated", lambda: with_text(parameters=FORGE)),
    ("SD.Next", "generated", lambda: jpeg(UserComment=comment(SDNEXT))),
    ("SD.Next", "generated", lambda: with_text(parameters=SDNEXT)),
    ("Civitai", "generated", lambda: jpeg(UserComment=comment(CIVITAI))),
    ("ComfyUI", "generated", lambda: with_text(prompt=GRAPH)),
    ("ComfyUI", "generated", lambda: with_text(workflow=WORKFLOW)),
    ("ComfyUI", "generated", lambda: with_chunks(chunk(b"comf", b"prompt\0" + GRAPH.encode()), behind_pixels=True)),
    ("ComfyUI", "generated", lambda: with_chunks(chunk(b"comf", b"workflow\0" + WORKFLOW.encode()), behind_pixels=True)),
    ("ComfyUI", "generated", lambda: webp(Make=f"workflow:{WORKFLOW}", Model=f"prompt:{GRAPH}")),
    ("ComfyUI", "generated", lambda: webp(Make=f"Workflow: {WORKFLOW}")),
    ("ComfyUI", "generated", lambda: webp(ImageDescription=f"Workflow:{WORKFLOW}", Make=f"Prompt:{GRAPH}")),
    ("ComfyUI", "generated", lambda: jpeg(UserComment=comment(json.dumps({"prompt": json.loads(GRAPH), "workflow": {}})))),
    ("ComfyUI", "generated", lambda: jpeg(UserComment=b"ASCII\0\0\0" + WORKFLOW.encode())),
    ("InvokeAI", "generated", lambda: with_text(invokeai_metadata="{}")),
    ("InvokeAI", "generated", lambda: with_text(invokeai_graph="{}")),
    ("InvokeAI", "generated", lambda: with_text(invokeai_workflow="{}")),
    ("InvokeAI", "generated", lambda: with_text(**{"sd-metadata": "{}"})),
    ("InvokeAI", "generated", lambda: with_text(Dream='"a cat" -s 50')),
    ("NovelAI", "generated", lambda: with_text(**{"Generation time": "3.1"})),
    ("NovelAI", "generated", lambda: with_text(Software="NovelAI", Title="NovelAI generated image")),
    ("NovelAI", "generated", lambda: with_text(Source="NovelAI Diffusion V4.5 4BDE2A90")),
    ("NovelAI", "generated", lambda: with_text(Comment=NOVELAI)),
    ("NovelAI", "generated", lambda: webp(UserComment=comment(NOVELAI))),
    ("Fooocus", "generated", lambda: with_text(fooocus_scheme="fooocus")),
    ("Fooocus", "generated", lambda: with_text(parameters=FOOOCUS)),
    ("Fooocus", "generated", lambda: jpeg(UserComment=FOOOCUS.encode())),  # without a character code
    ("Fooocus", "generated", lambda: jpeg(MakerNote=b"fooocus")),
    ("Fooocus", "generated", lambda: jpeg(Software="Fooocus v2.5.5")),
    ("SwarmUI", "generated", lambda: with_text(parameters=SWARM)),
    ("SwarmUI", "generated", lambda: jpeg(UserComment=comment(SWARM, "le"))),
    ("Easy Diffusion", "generated", lambda: jpeg(UserComment=comment(EASY))),
    ("Easy Diffusion", "generated", lambda: jpeg(UserComment=comment(EASY_LABELS))),
    ("Easy Diffusion", "generated", lambda: with_text(use_stable_diffusion_model="example")),
    ("Easy Diffusion", "generated", lambda: with_text(**{"Stable Diffusion model": "example"})),
    ("Draw Things", "generated", lambda: with_xmp("<xmp:CreatorTool>Draw Things</xmp:CreatorTool>")),
    ("Draw Things", "generated", lambda: with_xmp(in_holder("exif:UserComment", DRAW_THINGS))),
    ("TensorArt", "generated", lambda: with_text(generation_data="{}")),
    # --- services
    ("Midjourney", "generated", lambda: with_text(Description=MIDJOURNEY, Author="somebody")),
    ("Midjourney", "generated", lambda: jpeg(ImageDescription=MIDJOURNEY)),
    ("Midjourney", "generated", lambda: with_xmp(in_holder("dc:description", MIDJOURNEY))),
    ("Midjourney", "generated", lambda: jpeg(Make="Midjourney")),
    ("xAI Grok", "generated", lambda: jpeg(ImageDescription=SIGNATURE, Artist=UUID)),
    ("xAI Grok", "generated", lambda: with_text(Description=SIGNATURE, Author=UUID)),
    ("xAI Grok", "generated", lambda: with_iptc(Caption=SIGNATURE, By_line=UUID)),
    (
        "xAI Grok",
        "generated",
        lambda: with_xmp(in_holder("dc:description", SIGNATURE) + f"<dc:creator><rdf:Seq><rdf:li>{UUID}</rdf:li></rdf:Seq></dc:creator>"),
    ),
    ("Google AI", "generated", lambda: with_xmp(photoshop__Credit="Made with Google AI")),
    ("Google AI", "generated", lambda: with_iptc(Credit="Made with Google AI")),
    ("Google AI", "ai-edited", lambda: with_xmp("<photoshop:Credit>Edited with Google AI</photoshop:Credit>")),
    ("Google AI", "ai-edited", lambda: with_iptc(Credit="Edited with Google AI")),
    ("Apple Image Playground", "generated", lambda: with_xmp(photoshop__Credit="Apple Image Playground")),
    ("Apple Photos", "ai-edited", lambda: with_xmp(photoshop__Credit="Apple Photos Clean Up")),
    ("Apple Photos", "ai-edited", lambda: with_xmp(photoshop__Credit="Apple Photos Generative Edit: Clean Up")),
    ("Samsung Galaxy AI", "ai-edited", lambda: with_trailer(Image_UTC_Data="1700000000000", PhotoEditor_Re_Edit_Data=RE_EDIT)),
    ("Dreamina", "generated", lambda: jpeg(UserComment=comment(json.dumps({"product": "dreamina", "exportType": "generation"})))),
    ("Black Forest Labs FLUX", "generated", lambda: jpeg(Software="AI generated;txt2img;flux", Make="Black Forest Labs", Model="flux-dev")),
    ("Black Forest Labs FLUX", "generated", lambda: jpeg(Make="Black Forest Labs & others", Model="flux-dev")),
    ("Ideogram", "generated", lambda: jpeg(Make="Ideogram AI")),
    # --- names where a program names itself, with what programs write around them
    *(
        (program, "generated", lambda name=name: jpeg(Software=name))
        for program, names in {
            "OpenAI": (
                "DALL-E 3",
                "DALL\u00b7E 3",
                "ChatGPT",
                "gpt-image-1",
                "GPT-4o",
                "Sora",
                "OpenAI API",
                "ChatGPT by OpenAI",
                "gpt-image-1.5",
            ),
            "Google Gemini": (
                "Gemini",
                "Google Imagen",
                "Imagen 4 Ultra",
                "Nano Banana Pro",
                "Gemini 2.5 Flash Image",
                "Made with Google AI",
            ),
            "Adobe Firefly": ("Adobe Firefly", "Adobe Firefly Image 3", "Adobe_Firefly/1.0"),
            "Microsoft Image Creator": ("Bing Image Creator", "Image Creator from Designer"),
            "Meta AI": ("Meta AI", "Imagined with AI"),
            "xAI Grok": ("Grok", "Grok 4", "Grok Imagine"),
            "Midjourney": ("Midjourney", "Midjourney v7", "midjourney (web)", "Generated by Midjourney"),
            "Black Forest Labs FLUX": ("FLUX.1 [dev]", "FLUX.2", "flux-1.1-pro", "Flux Kontext", "Black Forest Labs API"),
            "Stable Diffusion": ("Stable Diffusion XL", "stable-diffusion-3.5-large", "DreamStudio", "Stability AI", "SDXL 1.0"),
            "ComfyUI": ("ComfyUI", "ComfyUI v0.3.40"),
            "Stable Diffusion web UI": ("AUTOMATIC1111", "stable-diffusion-webui v1.10.1"),
            "Stable Diffusion WebUI Forge": ("SD Forge f2.0.1",),
            "InvokeAI": ("InvokeAI", "InvokeAI 5.4.0"),
            "NovelAI": ("NovelAI",),
            "SwarmUI": ("SwarmUI", "StableSwarmUI 0.6"),
            "SD.Next": ("SD.Next",),
            "Draw Things": ("Draw Things 1.2",),
            "Civitai": ("Civitai",),
            "Easy Diffusion": ("Easy Diffusion v3.0",),
            "ByteDance": ("Seedream", "Seedream 4.5", "Doubao", "\u5373\u68a6AI", "Jimeng", "Dreamina/7.5.0"),
            "Alibaba": ("Qwen-Image", "Qwen-Image-Edit", "Tongyi Wanxiang", "\u901a\u4e49\u4e07\u76f8"),
            "Tencent Hunyuan": ("Hunyuan Image 3.0", "HunyuanImage-2.1", "\u6df7\u5143"),
            "Kuaishou Kling": ("Kling", "Kling AI", "Kolors 2.0", "\u53ef\u7075"),
            "Recraft": ("Recraft", "Recraft V3", "recraft.ai"),
            "Reve": ("reve.com", "Reve Image 1.0"),
            "Ideogram": ("Ideogram", "Ideogram 3.0"),
            "Leonardo.Ai": ("Leonardo.Ai", "Leonardo AI"),
            "Krea": ("Krea", "Krea 1", "krea.ai"),
            "Apple Image Playground": ("Image Playground",),
            "another generator": ("NightCafe", "Luma AI"),
        }.items()
        for name in names
    ),
    ("OpenAI", "generated", lambda: with_text(Software="ChatGPT")),
    ("OpenAI", "generated", lambda: with_xmp(xmp__CreatorTool="DALL-E")),
    ("OpenAI", "generated", lambda: with_xmp(tiff__Software="ChatGPT")),
    ("OpenAI", "generated", lambda: with_iptc(OriginatingProgram="ChatGPT")),
    ("OpenAI", "generated", lambda: with_xmp(Iptc4xmpExt__AISystemUsed="ChatGPT DALL-E")),
    ("OpenAI", "generated", lambda: jpeg(ImageEditingSoftware="ChatGPT")),
    # --- editors and scanners
    *(
        (None, "edited", lambda name=name: jpeg(Software=name))
        for name in (
            "Adobe Photoshop 26.0 (Macintosh)",
            "GIMP 2.10.36",
            "paint.net 5.0",
            "Adobe Photoshop Lightroom Classic 14.0",
            "Snapseed",
        )
    ),
    (None, "edited", lambda: encoded("JPEG", comment=b"Created with GIMP")),
    (None, "edited", lambda: with_text(Comment="Created with GIMP")),
    (None, "scanner", lambda: jpeg(Make="Canon", Model="CanoScan 9000F")),
    (None, "scanner", lambda: jpeg(Make="EPSON", Model="Perfection V600")),
    (None, "scanner", lambda: jpeg(Software="VueScan 9 x64 (9.8)")),
    (None, "scanner", lambda: jpeg(Make="Somebody", Model="Device", FileSource=b"\1")),
]
"""Program (None where it is none's name that is shown), claim, file."""


@pytest.mark.parametrize(("program", "word", "build"), MARKS)
def test_every_mark_says_what_it_is_and_whose(program, word, build):
    provenance = read(build())
    assert [says for says in provenance.says if says not in {"camera"}] == [word]
    assert "camera" not in provenance.says
    assert provenance.programs == [program] * (program is not None)
    if program:
        assert f"({program})" in provenance.summary


def test_every_mark_of_the_table_has_a_row_here(monkeypatch):
    found, find = set(), Marks.find

    def noted(self, *arguments):
        mark = find(self, *arguments)
        found.add(mark and mark.model_dump_json())
        return mark

    monkeypatch.setattr(Marks, "find", noted)
    for _, _, build in MARKS:
        read(build())
    table = [generators.Mark.model_validate(one).model_dump_json() for one in TABLE["mark"]]
    assert [one for one in table if one not in found] == []


# --- the table ---


def test_the_table_keeps_its_schema():
    for mark in TABLE["mark"]:
        assert mark["source"].startswith(("https://", "names of", "EXIF", "C2PA", "Peter Kaminski")), mark
        assert mark["says"] in ORDER
    assert all(name in load_marks().namespaces for name in TABLE["namespaces"])
    words = [word for words in TABLE["words"].values() for word in words]
    assert len(words) == len(set(words))
    assert all(word == word.casefold() for word in words)


OWN = """
[namespaces]
house = "http://example.org/house/1.0/"

[[mark]]
program = "House renderer"
says = "generated"
places = ["@program", "xmp.house:Engine"]
names = ["Housemade"]
source = "our own files"
"""
OWN_YAML = """
mark:
  - program: House renderer
    says: generated
    places: ["@program"]
    names: [Housemade]
    source: our own files
"""


@pytest.mark.parametrize(("name", "text"), [("own.toml", OWN), ("own.yaml", OWN_YAML), ("own.yml", OWN_YAML)])
def test_marks_of_ones_own_stand_beside_the_packages(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    marks = load_marks(tmp_path / name)
    for data, expected in ((jpeg(Software="Housemade 3"), ["House renderer"]), (jpeg(Software="ChatGPT"), ["OpenAI"])):
        assert read(data, marks=marks).programs == expected
    assert read(jpeg(Software="Housemade 3")).says == []
    assert marks.fingerprint != load_marks().fingerprint


def test_a_table_travels_between_processes(tmp_path):
    (tmp_path / "own.toml").write_text(OWN)
    asked = Asked(provenance=True, marks=load_marks(tmp_path / "own.toml"))
    (tmp_path / "own.toml").unlink()
    for arrived in (
        pickle.loads(pickle.dumps(asked)),  # noqa: S301 - as Ray hands it to its workers
        Asked.from_dict(json.loads(json.dumps(asked.as_dict()))),  # as the service hands it to its decoders
    ):
        assert arrived == asked
        assert arrived.claims(jpeg(Software="Housemade 3")).programs == ["House renderer"]
    assert asked != Asked(provenance=True, marks=load_marks())


def test_a_namespace_of_ones_own(tmp_path):
    (tmp_path / "own.toml").write_text(OWN)
    marks = load_marks(tmp_path / "own.toml")
    for address, says in (("http://example.org/house/1.0/", ["generated"]), ("http://example.org/garden/1.0/", [])):
        data = with_segments(xmp_segment(f'<rdf:Description xmlns:h="{address}" h:Engine="Housemade"/>'.encode()))
        assert read(data, marks=marks).says == says


MARK = '[[mark]]\nprogram = "P"\nsays = "generated"\nplaces = ["exif.Software"]\nsource = "s"\n'


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.toml", "x = [\n\n)", "line 3"),
        ("a.toml", '[[mark]]\nprogram = "P"\n', "mark 1 (P).says: field required"),
        ("a.toml", MARK, "mark 1 (P): expected one of key, whole, names"),
        ("a.toml", MARK + 'key = true\nwhole = ["a"]', "mark 1 (P): expected one of"),
        ("a.toml", MARK + "key = true\n" + MARK + 'settings = ["("]', "mark 2 (P).settings.0: no pattern"),
        ("a.toml", MARK + 'key = true\ncolour = "red"', "mark 1 (P).colour: extra inputs"),
        ("a.toml", MARK.replace("exif.Software", "exif.Softwear") + "key = true", "mark 1 (P): exif.Softwear is not read"),
        ("a.toml", MARK.replace("exif.Software", "software") + "key = true", "mark 1 (P): 'software' is no place"),
        ("a.toml", MARK.replace("exif.Software", "@nowhere") + "key = true", "mark 1 (P): no group @nowhere"),
        ("a.toml", MARK.replace("exif.Software", "xmp.house:Engine") + "key = true", "prefix without a namespace"),
        ("a.toml", MARK.replace("exif.Software", "exif.ImageDescription") + 'whole = ["a"]', "holds what people write"),
        ("a.toml", MARK.replace("exif.Software", "png.Title") + "key = true", "holds what people write"),
        ("a.toml", MARK.replace('"generated"', '"fake"') + "key = true", "mark 1 (P).says: input should be"),
        ("a.yaml", "mark: [\n - {", "is no YAML: line"),
        ("a.yaml", "- mark", "expected entries under `mark`"),
        ("a.txt", "", "ends in .toml or .yaml"),
        ("a.toml", None, "cannot be read"),
    ],
)
def test_a_wrong_table_is_named_with_its_entry(tmp_path, name, text, said):
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(MarksError) as caught:
        load_marks(tmp_path / name)
    assert str(tmp_path / name) in str(caught.value)
    assert said in str(caught.value)


def test_yaml_without_its_package(tmp_path, monkeypatch):
    (tmp_path / "a.yaml").write_text(OWN_YAML)
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(MissingPackageError, match="yaml"):
        load_marks(tmp_path / "a.yaml")


def test_commands_take_a_table(run, tiny_model, tmp_path):
    (tmp_path / "own.toml").write_text(OWN)
    (tmp_path / "wrong.toml").write_text(MARK)
    (tmp_path / "a.jpg").write_bytes(jpeg(Software="Housemade 3"))
    common = ("detect", tmp_path / "a.jpg", "--model", tiny_model, "--json")
    for more, says in (((), []), (("--marks", tmp_path / "own.toml"), ["generated"])):
        assert json.loads(run(*common, *more)[1])["provenance"]["says"] == says
    for command in (common, ("audit", tmp_path, "--out", tmp_path / "out"), ("serve", "--model", tiny_model)):
        code, _, err = run(*command, "--marks", tmp_path / "wrong.toml")
        assert code == 2
        assert "mark 1 (P)" in err


# --- photographs ---


NAMES = sorted(
    {name for mark in TABLE["mark"] if mark["says"] in {"generated", "ai-edited"} for name in (mark["program"], *mark.get("names", []))}
)
SENTENCES = [
    # English
    "The chief executive of {} speaks at a hearing", "{}", "A student uses {} in a classroom", "{} headquarters at dusk",
    "No use by {}", "Protest against {}", "Made with {}? No, with a camera", "This photograph was not generated by {}",
    "{} logo on a phone", "Training of {} on this picture is prohibited", "Screenshot of {}", "Steps: the road to {}",
    # German
    "Der Chef von {} bei einer Anhörung", "Schüler arbeiten mit {}", "Nicht mit {} erstellt", "Zentrale von {}",
    "Verbot der Nutzung durch {}", "Plakat von {} am Bahnhof", "Mit {} verglichen", "Demonstration gegen {}",
    "Stand von {} auf der Messe", "Aufnahme ohne {}", "Ein Vortrag über {}", "Das Team von {}",
    # French
    "Une conférence sur {}", "Le siège de {}", "Un élève utilise {}", "Pas d'utilisation par {}", "Affiche de {} dans le métro",
    "Une dalle de béton devant {}", "Manifestation contre {}", "Photo prise sans {}", "Le fondateur de {}",
    "Salon : le stand de {}", "Débat autour de {}", "{} en bourse",
    # Italian
    "Una manifestazione dalle 10 alle 12 davanti a {}", "La sede di {}", "Uno studente usa {}", "Vietato l'uso da parte di {}",
    "Il fondatore di {} in aula", "Vista dalle Dolomiti, non da {}", "Foto senza {}", "Un convegno su {}", "Manifesto di {}",
    "Lo stand di {}", "Contro {}", "{} in piazza",
    # Spanish
    "El director de {} habla en una audiencia", "La sede de {}", "Un alumno usa {}", "Prohibido el uso por {}",
    "Cartel de {} en el metro", "Protesta contra {}", "Foto tomada sin {}", "Una charla sobre {}", "El equipo de {}",
    "Feria: el puesto de {}", "{} en bolsa", "No es de {}",
]  # fmt: skip
"""Sixty captions, descriptions and rights notes, twelve in each of five languages."""


def mentions(text):
    """Yield a photograph with a text in each place where people write: (place, file)."""
    camera = {"Make": "Canon", "Model": "EOS R5"}
    for name in (
        "ImageDescription",
        "Copyright",
        "Artist",
        "DocumentName",
        "ImageTitle",
        "XPTitle",
        "XPSubject",
        "XPKeywords",
        "XPComment",
        "XPAuthor",
    ):
        yield f"exif.{name}", jpeg(**camera, **{name: text})
    yield "exif.UserComment", jpeg(**camera, UserComment=comment(text))
    for name in set(IPTC) - {"OriginatingProgram"}:
        yield f"iptc.{name}", with_iptc(**{name.replace("-", "_"): text})
    for key in ("Title", "Author", "Description", "Copyright", "Comment", "Disclaimer", "Warning", "Source", "UserComment", "Caption"):
        yield f"png.{key}", with_text(**{key: text})
    for name in ("dc:title", "dc:description", "dc:rights", "dc:subject", "dc:creator", "exif:UserComment", "photoshop:Headline"):
        yield f"xmp.{name}", with_xmp(in_holder(name, text))
    for name in ("photoshop:Credit", "photoshop:Source", "photoshop:Instructions", "xmpRights:UsageTerms", "Iptc4xmpExt:PersonInImage"):
        yield f"xmp.{name}", with_xmp(f"<{name}>{text}</{name}>")
    yield "comment", encoded("JPEG", comment=text.encode(), exif=exif_of(**camera))
    yield "comment of a GIF", encoded("GIF", comment=text.encode())


CREDITS = {"Made with Google AI", "Edited with Google AI", "Apple Image Playground"}  # whole credit lines that are marks


def test_no_photograph_is_called_generated_because_of_a_word():
    """Every sentence with some name, every name in some sentence, each in every place."""
    assert len(SENTENCES) >= 60
    assert len(NAMES) > 150
    texts = {sentence.format(NAMES[7 * number % len(NAMES)]) for number, sentence in enumerate(SENTENCES)}
    texts |= {SENTENCES[number % len(SENTENCES)].format(name) for number, name in enumerate(NAMES)}
    called = [
        (place, text)
        for text in sorted(texts)
        for place, data in mentions(text)
        if not set(read(data).says) <= {"camera"} and text not in CREDITS
    ]
    assert called == []


@pytest.mark.parametrize(
    "name",
    [
        "Gemini Photo Scanner",
        "Sora Camera App",
        "Not made with Midjourney",
        "Flux Capacitor 2",
        "Leonardo",
        "ImageNet tools",
        "A Grok reader",
    ],
)
def test_a_program_whose_name_holds_another_is_another(name):
    assert read(jpeg(Software=name)).says == []


def test_places_where_people_write_take_no_names():
    for mark in TABLE["mark"]:
        marks = [generators.normalised(place) for place in mark["places"]]
        if {"names", "prefix", "whole", "key"} & mark.keys() and mark["says"] != "edited":
            assert not FREE_TEXT & set(marks), mark


@pytest.mark.parametrize(
    "text",
    [
        'He wrote xmp:CreatorTool="Midjourney" and Iptc4xmpExt:DigitalSourceType="trainedAlgorithmicMedia" on the wall',
        "&lt;xmp:CreatorTool&gt;Midjourney&lt;/xmp:CreatorTool&gt;",
        "<!-- <xmp:CreatorTool>Midjourney</xmp:CreatorTool> -->",
        "<![CDATA[<xmp:CreatorTool>Midjourney</xmp:CreatorTool>]]>",
    ],
)
def test_markup_in_a_caption_is_text(text):
    assert read(with_xmp(f"<dc:description>{text}</dc:description>")).says == []
    quoted = text.replace("<", "&lt;").replace("'", "")
    assert read(with_segments(xmp_segment(packet().replace(b"rdf:about", f"photoshop:Headline='{quoted}' rdf:about".encode())))).says == []


def test_the_metadata_of_a_part_are_not_those_of_the_whole():
    part = f'<xmpMM:Pantry><rdf:Bag><rdf:li Iptc4xmpExt:DigitalSourceType="{SOURCE}trainedAlgorithmicMedia"/></rdf:Bag></xmpMM:Pantry>'
    assert read(with_xmp(f"{part}<xmp:CreatorTool>Adobe Photoshop 26.0</xmp:CreatorTool>")).says == ["edited"]


# --- China's label ---


LABEL = {"Label": "1", "ContentProducer": "001191110000MA00EXAMPLE10001", "ProduceID": "example-1", "ReservedCode1": "",
         "ContentPropagator": "somebody", "PropagateID": "p"}  # fmt: skip
TEXT = json.dumps(LABEL)
LABELLED = [
    ("xmp.AIGC", lambda text: with_xmp(in_holder("TC260:AIGC", text))),
    ("xmp.AIGC", lambda text: with_xmp(f"<TC260:AIGC>{text}</TC260:AIGC>")),
    ("xmp.AIGC", lambda text: with_xmp(TC260__AIGC=text.replace('"', "&quot;"))),
    ("png.AIGC", lambda text: with_text(AIGC=text)),
    ("exif.UserComment", lambda text: jpeg(UserComment=b"ASCII\0\0\0" + f'{{"AIGC": {text}}}'.encode())),
    ("exif.UserComment", lambda text: jpeg(UserComment=comment(json.dumps({"AIGC": text}), "le"))),
    ("exif.UserComment", lambda text: webp(UserComment=text.encode())),
    ("exif.ImageDescription", lambda text: jpeg(ImageDescription=f'{{"AIGC": {text}}}')),
    ("jpeg.AIGC", lambda text: with_segments((0xEF, b"AIGC" + text.encode()))),
    ("comment", lambda text: encoded("GIF", comment=f"AIGC{text}".encode())),
]


@pytest.mark.parametrize(("kind", "build"), LABELLED)
@pytest.mark.parametrize(
    ("label", "words", "says"),
    [
        ("1", "AI-generated", ["generated"]),
        (2, "possibly AI-generated", []),
        ("3", "suspected to be AI-generated", []),
        ("7", "no known", []),
    ],
)
def test_chinas_label_in_words(kind, build, label, words, says):
    provenance = read(build(json.dumps(LABEL | {"Label": label})))
    value = {one.kind: one.value for one in provenance.findings}[kind]
    assert f"label {label}: {words}" in value
    assert "producer 001191110000MA00EXAMPLE10001; propagator somebody" in value
    assert provenance.says == says


@pytest.mark.parametrize(
    "text",
    ['{"Label": "1"}', '{"AIGC": 1}', '{"AIGC": ' * 5000, "AIGC", '["AIGC"]', '{"Label": "1", "Title": "x"}', "AIGC{broken", "{" * 70_000],
)
def test_what_is_no_label(text):
    assert read(webp(UserComment=comment(text))).says == []


def test_a_label_whose_fields_are_properties():
    inner = (
        "<TC260:AIGC rdf:parseType='Resource'><TC260:Label>1</TC260:Label><TC260:ContentProducer>one</TC260:ContentProducer></TC260:AIGC>"
    )
    assert {one.kind: one.value for one in read(with_xmp(inner)).findings} == {
        "xmp.AIGC": "China's AIGC label 1: AI-generated; producer one"
    }
    assert read(with_xmp("<TC260:Label>1</TC260:Label>")).says == []


# --- the IPTC's fields on generating systems ---


@pytest.mark.parametrize(
    ("attributes", "says"),
    [
        ({"AISystemUsed": "ChatGPT DALL-E"}, ["generated"]),
        ({"AISystemUsed": "House model"}, ["generated"]),
        ({"AISystemUsed": "Nova Canvas", "AISystemVersionUsed": "1"}, ["generated"]),
        ({"AISystemVersionUsed": "3"}, []),
        ({"AIPromptInformation": "no people, a street at night"}, ["generated"]),
        ({"AIPromptWriterName": "A Person"}, ["generated"]),
        ({"AISystemUsed": "No AI used", "AIPromptWriterName": "A Person"}, []),
        ({"AISystemUsed": "Adobe Firefly", "DigitalSourceType": f"{SOURCE}compositeWithTrainedAlgorithmicMedia"}, ["ai-edited"]),
        ({"AISystemUsed": "House model", "DigitalSourceType": f"{SOURCE}digitalCapture"}, ["ai-edited", "camera"]),
        ({"AISystemUsed": "House model", "DigitalSourceType": f"{SOURCE}trainedAlgorithmicMedia"}, ["generated"]),
        *(
            ({"AISystemUsed": value}, [])
            for value in (
                "None", "none", "N/A", "No", "no AI", "No generative AI was used", "-", "Not applicable", "keine", "Keine KI verwendet",
                "aucun", "Sans IA", "ninguno", "Sin IA", "nessuno", "Senza IA", "无", "未使用AI", "なし", "нет",
            )
        ),
        *(({"AIPromptInformation": value}, []) for value in ("none", "No prompt", "n/a", "no AI was used", "\u65e0")),
        ({"DataMining": "x"}, []),
    ],
)  # fmt: skip
def test_the_iptcs_fields_have_their_meaning(attributes, says):
    provenance = read(with_xmp(**{f"Iptc4xmpExt__{name}": value for name, value in attributes.items()}))
    assert provenance.says == says


def test_a_prohibition_is_shown_and_claims_nothing():
    data = with_xmp(
        plus__DataMining="http://ns.useplus.org/ldf/vocab/DMI-PROHIBITED-GENAIMLTRAINING", Iptc4xmpExt__AISystemUsed="No AI used"
    )
    provenance = read(data)
    assert {one.kind for one in provenance.findings} == {"xmp.DataMining", "xmp.AISystemUsed"}
    assert {one.says for one in provenance.findings} == {"unknown"}


def test_a_system_used_on_a_photograph_edited_it():
    data = with_segments(
        xmp_segment(packet(Iptc4xmpExt__AISystemUsed="House model")), (0xE1, b"Exif\0\0" + exif_of(Make="Canon").tobytes()[6:])
    )
    assert read(data).says == ["ai-edited", "camera"]


# --- where metadata stand ---


EXTENDED = packet(Iptc4xmpExt__DigitalSourceType=f"{SOURCE}trainedAlgorithmicMedia", dc__source="x" * 90_000)


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0), (2, 0, 3, 1), (0, 0, 1, 2, 3)])
def test_extended_xmp_is_joined_by_its_places(order):
    digest, parts = extended_xmp(EXTENDED)
    assert len(parts) == 4
    main = xmp_segment(packet(xmpNote__HasExtendedXMP=digest))
    other = extended_xmp(packet(Iptc4xmpExt__DigitalSourceType=f"{SOURCE}digitalCapture"))[1]  # which the main packet does not name
    assert read(with_segments(main, *other, *(parts[number] for number in order))).says == ["generated"]


@pytest.mark.parametrize("header", [b"", b"Exif\0\0"])
def test_exif_of_a_png_with_and_without_its_header(header):
    block = exif_of(Make="Canon", Model="EOS R5").tobytes().removeprefix(b"Exif\0\0")
    assert read(with_chunks(chunk(b"eXIf", header + block))).says == ["camera"]


def test_exif_of_type_utf_8():
    """EXIF 3.0, 4.6.2: type 129."""
    value = "\u5373\u68a6AI".encode() + b"\0"
    entry = struct.pack("<HHII", 0x0131, 129, len(value), 26)
    block = struct.pack("<2sHIH", b"II", 42, 8, 1) + entry + struct.pack("<I", 0) + value
    assert read(with_segments((0xE1, b"Exif\0\0" + block))).programs == ["ByteDance"]


@pytest.mark.parametrize("attribute", ["xmp:CreatorTool", "other:CreatorTool"])
def test_a_property_counts_in_its_namespace(attribute):
    data = packet().replace(b"rdf:about", f'xmlns:other="http://example.org/" {attribute}="ChatGPT" rdf:about'.encode())
    assert read(with_segments(xmp_segment(data))).programs == ["OpenAI"] * (attribute == "xmp:CreatorTool")


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "GIF", "TIFF"])
def test_a_mark_in_the_xmp_of_every_container(kind):
    block = packet(photoshop__Credit="Made with Google AI")
    if kind == "GIF":
        data = with_gif_xmp(block)
    elif kind == "TIFF":
        data = encoded(kind, exif=exif_of(XMLPacket=block))
    elif kind == "PNG":
        data = with_text(**{"XML:com.adobe.xmp": block.decode()})
    else:
        data = encoded(kind, xmp=block)
    assert read(data).programs == ["Google AI"]


def test_settings_in_make_and_model_are_no_camera():
    for tags in ({"Make": f"workflow:{WORKFLOW}", "Model": f"prompt:{GRAPH}"}, {"Make": "extra:{}", "Model": f"prompt:{GRAPH}"}):
        assert read(webp(**tags)).says == ["generated"]


@pytest.mark.parametrize("damage", [b"", b"\0" * 40, b"\xff" * 12])
def test_a_damaged_trailer_is_left_out(damage):
    data = with_trailer(PhotoEditor_Re_Edit_Data=RE_EDIT)
    assert read(data[:-60] + damage + data[-8:]).says == []
    assert read(with_trailer(PhotoEditor_Re_Edit_Data=RE_EDIT.replace(": 2", ": 0"))).says == []
