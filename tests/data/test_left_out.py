"""Folders as people have them: every picture gets its row, what is left out is counted and named, and nothing stops a listing."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from dgsnet.core.errors import DatasetError
from dgsnet.data.dataset import load_dataset
from dgsnet.data.layouts import Listing, list_samples
from dgsnet.data.left_out import LeftOut
from dgsnet.data.picture_files import has_picture_name, is_picture
from tests.support.ordinary_user import ordinary_user


def encoded(kind: str = "JPEG", **options: object) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (64, 48), "teal").save(stream, kind, **options)
    return stream.getvalue()


JPEG = encoded()
HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"
FILM = b"\0\0\0\x18ftypisom\0\0\0\0isommp42"


def put(root: Path, files: dict[str, bytes | str]) -> Path:
    """A folder of files, by path."""
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data.encode() if isinstance(data, str) else data)
    return root


def tarred(members: list[tuple[str, bytes | tarfile.TarInfo]], mode: str = "w") -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode) as tar:  # type: ignore[call-overload]
        for name, what in members:
            info = what if isinstance(what, tarfile.TarInfo) else tarfile.TarInfo(name)
            info.name = name
            data = b"" if isinstance(what, tarfile.TarInfo) else what
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return stream.getvalue()


def link(target: str, kind: bytes = tarfile.LNKTYPE) -> tarfile.TarInfo:
    info = tarfile.TarInfo()
    info.type, info.linkname = kind, target
    return info


def listed(listing: Listing) -> tuple[list[str], list[str], int]:
    """Paths, lines about what was left out, and how much of it may be pictures."""
    paths = [sample.path for sample in listing.samples]
    return paths, listing.left_out.lines(), listing.left_out.lost


CASES: list[tuple[str, dict[str, bytes | str], list[str], list[str], int]] = [
    (
        "names of downloads",
        {"1.jpg": JPEG, "photo": JPEG, "D1a.jpg_large": JPEG, "D1b.jpg:large": b"cut off", "IMG.JPG": JPEG, "get.php": encoded("PNG")},
        ["1.jpg", "D1a.jpg_large", "D1b.jpg:large", "IMG.JPG", "get.php", "photo"],
        [],
        0,
    ),
    ("formats of others", {"a": HEIC, "b.heic": b"broken", "c.bin": b"\xff\x0ajxl"}, ["a", "b.heic", "c.bin"], [], 0),
    (
        "no pictures",
        {"1.jpg": JPEG, "BMW.txt": "BM is a maker of cars", "film.mov": FILM, "Thumbs.db": b"\xd0\xcf\x11\xe0", "empty": b""},
        ["1.jpg"],
        ["files that are no pictures (4): {0}/BMW.txt, {0}/Thumbs.db, {0}/empty, {0}/film.mov"],
        0,
    ),
    (
        "hidden",
        {"1.jpg": JPEG, "._1.jpg": b"\0\5\x16\7", ".thumbnails/1.jpg": JPEG},
        ["1.jpg"],
        ["hidden files and folders (2): {0}/._1.jpg, {0}/.thumbnails"],
        0,
    ),
    (
        "an archive",
        {"1.jpg": JPEG, "more.zip": b"PK\3\4", "z.tar.gz": tarred([("README", b"text")], "w:gz")},
        ["1.jpg"],
        [
            "archives; unpack them (1): {0}/more.zip",
            "shards, or the rest of them (1): {0}/z.tar.gz (is compressed, so its images cannot be reached one by one; "
            "unpack it to a plain .tar)",
        ],
        2,
    ),
    (
        "somebody's tables",
        {"1.jpg": JPEG, "manifest.csv": "filename,md5\n1.jpg,abc\n", "metadata.csv": "file_name,text\n1.jpg,a\n", "manifest.jsonl": "{}\n"},
        ["1.jpg"],
        [
            "tables without a column `path`, so no manifests (2): {0}/manifest.csv, {0}/manifest.jsonl",
            "files that are no pictures (1): {0}/metadata.csv",
        ],
        0,
    ),
    (
        "a manifest of another encoding",
        {"1.jpg": JPEG, "manifest.csv": "path,label\n1.jpg,0\n".encode("utf-16")},
        ["1.jpg"],
        ["tables without a column `path`, so no manifests (1): {0}/manifest.csv"],
        0,
    ),
    (
        "shards beside files",
        {"1.jpg": JPEG, "a.tar": tarred([("x.jpg", JPEG)]), "b.TAR": b"no tar at all"},
        ["1.jpg", "a.tar/x.jpg"],
        ["shards, or the rest of them (1): {0}/b.TAR (is no plain tar archive (.*)"],
        1,
    ),
    (
        "a damaged Parquet file",
        {"1.jpg": JPEG, "a.parquet": b"PAR1"},
        ["1.jpg"],
        ["shards, or the rest of them (1): {0}/a.parquet (is no readable .parquet file (.*); download it again)"],
        1,
    ),
]


@pytest.mark.parametrize(("files", "paths", "lines", "lost"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_folders_as_people_have_them(tmp_path, files, paths, lines, lost):
    found, said, count = listed(list_samples(put(tmp_path, files), labelled=False))
    assert found == paths
    assert len(said) == len(lines), said
    for line, expected in zip(said, lines, strict=True):
        assert len(expected.split(".*")) > 1 or line == expected.format(tmp_path)
        assert all(part in line for part in expected.format(tmp_path).split(".*"))
    assert count == lost


def test_a_folder_that_cannot_be_listed_costs_what_lies_in_it(tmp_path):
    root = put(tmp_path / "locked", {"a/1.jpg": JPEG, "l/2.jpg": JPEG, "z/3.jpg": JPEG})
    with ordinary_user(root):
        (root / "l").chmod(0)
        found = listed(list_samples(root, labelled=False))
    (root / "l").chmod(0o755)
    assert found == (["a/1.jpg", "z/3.jpg"], [f"folders that cannot be listed (1): {root}/l/ (Permission denied)"], 1)


def test_files_that_cannot_be_opened_are_named_or_have_a_row(tmp_path):
    root = put(tmp_path / "data", {"1.jpg": JPEG, "2.jpg": JPEG, "photo": JPEG})
    with ordinary_user(root):
        for name in ("2.jpg", "photo"):
            (root / name).chmod(0)
        found = listed(list_samples(root, labelled=False))
    assert found == (["1.jpg", "2.jpg"], [f"files that cannot be read (1): {root}/photo (Permission denied)"], 1)


def test_folders_may_be_deeper_than_python_calls_itself_and_than_the_system_opens(tmp_path):
    put(tmp_path, {"1.jpg": JPEG})
    here = Path.cwd()
    os.chdir(tmp_path)
    try:
        for _ in range(2200):  # 4,400 characters: Linux opens no path of more than 4,096
            Path("d").mkdir()
            os.chdir("d")
    finally:
        os.chdir(here)
    paths, lines, lost = listed(list_samples(tmp_path, labelled=False))
    assert (paths, lost) == (["1.jpg"], 1)
    assert lines[0].startswith("folders that cannot be listed (1): ")
    assert lines[0].endswith("(File name too long)")


def test_names_without_a_file(tmp_path):
    put(tmp_path, {"1.jpg": JPEG})
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    os.mkfifo(tmp_path / "pipe.png")
    paths, lines, lost = listed(list_samples(tmp_path, labelled=False))
    assert (paths, lost) == (["1.jpg"], 2)
    assert len(lines) == 1
    assert lines[0].startswith("names without a file (3): ")
    assert all(name in lines[0] for name in ("gone.jpg (a broken link", "pipe.png (a broken link, a pipe", "loop (Too many levels"))


def test_the_list_of_names_is_bounded():
    left_out, other = LeftOut(), LeftOut()
    for number in range(4):
        left_out.add("files", f"{number}")
        other.add("files", f"{number + 4}", lost=False)
    other.add("folders", "f", "why")
    left_out.update(other)
    assert left_out.lines() == ["files (8): 0, 1, 2, 3, 4 and 3 more", "folders (1): f (why)"]
    assert left_out.lost == 5


def test_when_all_is_left_out_the_error_names_it(tmp_path):
    put(tmp_path, {"notes.txt": "x", "a.zip": b"PK\3\4"})
    with pytest.raises(DatasetError, match=r"holds no images .*left out: archives; unpack them \(1\): .*a\.zip"):
        load_dataset(tmp_path, labelled=False)


# --- Labelled folders ---


def test_labelled_folders_leave_out_what_has_no_label_of_theirs(tmp_path):
    put(
        tmp_path,
        {"real/1.jpg": JPEG, "fake/photo": JPEG, "code.tar.gz": tarred([], "w:gz"), "old.tar": tarred([]), "manifest.csv": "a,b\n"},
    )
    dataset = load_dataset(tmp_path)
    assert [(sample.path, sample.label) for sample in dataset] == [("fake/photo", 1), ("real/1.jpg", 0)]
    assert dataset.left_out.lines() == [
        f"tables without a column `path`, so no manifests (1): {tmp_path}/manifest.csv",
        f"shards beside folders of images; give them by themselves (2): {tmp_path}/code.tar.gz, {tmp_path}/old.tar",
    ]
    assert dataset.left_out.lost == 2


def test_a_table_that_is_no_manifest_is_named_where_labels_are_missed(tmp_path):
    put(tmp_path, {"1.jpg": JPEG, "manifest.csv": "file,label\n1.jpg,0\n"})
    with pytest.raises(DatasetError, match=r"nothing says whether 1\.jpg .*manifest\.csv is no manifest: it has no column path"):
        load_dataset(tmp_path)


# --- Manifests without labels ---


@pytest.mark.parametrize(
    ("name", "text", "paths", "line"),
    [
        ("m.csv", "path,label\na.jpg,cat\n,dog\nb.jpg,\n", ["a.jpg", "b.jpg"], "rows without a path (1): {0}, line 3"),
        (
            "m.jsonl",
            '{"path": "a.jpg"}\n{"path"\n{"path": "b.jpg"}\n',
            ["a.jpg", "b.jpg"],
            "lines that are no JSON object (1): {0}, line 2",
        ),
    ],
)
def test_a_bad_row_costs_itself(tmp_path, name, text, paths, line):
    put(tmp_path, {name: text})
    assert listed(list_samples(tmp_path / name, labelled=False)) == (paths, [line.format(tmp_path / name)], 1)
    with pytest.raises(DatasetError):
        load_dataset(tmp_path / name)


# --- Tars ---

MEMBERS: list[tuple[str, bytes | tarfile.TarInfo]] = [
    ("a.jpg", JPEG),
    ("x/hard.jpg", link("./a.jpg")),
    ("x/soft.jpg", link("../a.jpg", tarfile.SYMTYPE)),
    ("chain.jpg", link("x/soft.jpg", tarfile.SYMTYPE)),
    ("photo", JPEG),
    ("D1.jpg_large", JPEG),
    ("gone.jpg", link("nothing.jpg", tarfile.SYMTYPE)),
    ("circle.jpg", link("circle.jpg", tarfile.SYMTYPE)),
    ("README", b"text"),
    ("._a.jpg", b"\0\5\x16\7"),
]


def test_links_in_a_tar_are_the_images_they_lead_to(tmp_path):
    put(tmp_path, {"a.tar": tarred(MEMBERS)})
    dataset = load_dataset(tmp_path / "a.tar", labelled=False)
    names = ["a.jpg", "x/hard.jpg", "x/soft.jpg", "chain.jpg", "photo", "D1.jpg_large"]
    assert [sample.path for sample in dataset] == [f"a.tar/{name}" for name in names]
    assert {dataset.read(sample) for sample in dataset} == {JPEG}
    assert dataset.left_out.lines() == [
        "members of a tar that are no files (broken links, devices) (2): {0}/gone.jpg, {0}/circle.jpg".format(tmp_path / "a.tar"),
        f"files that are no pictures (1): {tmp_path / 'a.tar'}/README",
        f"hidden files (1): {tmp_path / 'a.tar'}/._a.jpg",
    ]
    assert dataset.left_out.lost == 2


def test_a_link_has_the_label_of_its_own_note(tmp_path):
    put(tmp_path, {"a.tar": tarred([("a.jpg", JPEG), ("a.cls", b"0"), ("b.jpg", link("a.jpg")), ("b.cls", b"1")])})
    assert [(sample.path, sample.label) for sample in load_dataset(tmp_path)] == [("a.tar/a.jpg", 0), ("a.tar/b.jpg", 1)]


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:1500],
        lambda data: data[:1024] + b"\xff" * 512 + data[1536:],
        lambda data: data[:1024] + bytes(1024) + data[1024:],  # as `cat` joins two
    ],
)
def test_a_damaged_tar_costs_what_lies_behind_the_damage(tmp_path, damage: Callable[[bytes], bytes]):
    small = b"\xff\xd8\xff"
    whole = tarred([(f"{number}.jpg", small) for number in range(4)])
    put(tmp_path, {"a.tar": damage(whole), "b.tar": whole})
    paths, lines, lost = listed(list_samples(tmp_path, labelled=False))
    assert paths[0] == "a.tar/0.jpg"
    assert paths[-4:] == [f"b.tar/{number}.jpg" for number in range(4)]
    assert (len(lines), lost) == (1, 1)
    assert lines[0].startswith(f"shards, or the rest of them (1): {tmp_path / 'a.tar'} (is no plain tar archive (")


# --- Names and signatures ---


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.jpg", True),
        ("a.JPEG", True),
        ("a.jpg_large", True),
        ("a.JPG:orig", True),
        ("a.png!w640", True),
        ("a.HEIC", True),
        ("a.jpg.txt", False),
        ("a.jpgs", False),
        ("jpg", False),
        (".jpg", False),
        ("a.txt", False),
    ],
)
def test_names_of_pictures(name, expected):
    assert has_picture_name(name) is expected


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "JPEG2000", "AVIF"])
def test_what_pillow_writes_is_told_by_its_signature(kind):
    assert is_picture(encoded(kind)[:32])


@pytest.mark.parametrize("head", [b"", b"BM", b"BMW drives\n", FILM, b"%PDF-1.7", b"PK\3\4", b"\xff\xfea\0", b"<svg", b"RIFF\0\0\0\0WAVE"])
def test_what_is_no_picture_is_not_told_so(head):
    assert not is_picture(head)
