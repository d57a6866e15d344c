"""Parquet files with images in a column: which column it is, what is a row, what the labels mean."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from dgsnet.core.errors import DatasetError
from dgsnet.data.class_labels import meaning
from dgsnet.data.dataset import load_dataset
from dgsnet.data.layouts import list_samples


def encoded(seed: int) -> bytes:
    stream = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


IMAGES = [encoded(seed) for seed in range(4)]
STRUCT = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
STRUCTS = [{"bytes": image, "path": f"{number}.png"} for number, image in enumerate(IMAGES)]
FEATURE = {"_type": "Image"}


def write(file: Path, columns: dict[str, Any], features: dict[str, Any] | None = None, **options: Any) -> Path:
    table = pa.table(columns)
    if features is not None:
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(table, file, **options)
    return file


def read(file: Path, **options: Any) -> list[bytes]:
    dataset = load_dataset(file, **({"labelled": False} | options))
    return [dataset.read(sample) for sample in dataset]


COLUMNS: list[tuple[str, dict[str, Any], dict[str, Any] | None]] = [
    ("image", {"image": pa.array(STRUCTS, STRUCT)}, {"image": FEATURE}),
    ("img by metadata", {"img": pa.array(STRUCTS, STRUCT), "label": [0, 1, 1, 0]}, {"img": FEATURE}),
    ("any name by metadata", {"Bild": pa.array(IMAGES, pa.large_binary())}, {"Bild": FEATURE}),
    ("jpg by name", {"jpg": pa.array(STRUCTS, STRUCT), "__key__": ["a", "b", "c", "d"]}, None),
    ("name with dots", {"left.jpg": pa.array(STRUCTS, STRUCT), "__key__": ["a", "b", "c", "d"]}, None),
    ("binary by name", {"png": pa.array(IMAGES, pa.binary())}, None),
    ("binary view", {"image": pa.array(IMAGES, pa.binary_view())}, {"image": FEATURE}),
    ("dictionary", {"img": pa.array(IMAGES, pa.binary()).dictionary_encode()}, None),
    ("by content", {"content": pa.array(IMAGES, pa.binary()), "hash": pa.array([b"1", b"2", b"3", b"4"], pa.binary())}, None),
    ("struct by content", {"x": pa.array(STRUCTS, STRUCT), "sound": pa.array([{"bytes": b"RIFF", "path": "a.wav"}] * 4, STRUCT)}, None),
    (
        "no sound by metadata",
        {"image": pa.array([{"bytes": b"RIFF", "path": "a"}] * 4, STRUCT), "i": pa.array(STRUCTS, STRUCT)},
        {"image": {"_type": "Audio"}, "i": FEATURE},
    ),
    ("damaged metadata", {"img": pa.array(STRUCTS, STRUCT)}, []),  # type: ignore[list-item]
]


@pytest.mark.parametrize(("columns", "features"), [case[1:] for case in COLUMNS], ids=[case[0] for case in COLUMNS])
@pytest.mark.parametrize("rows", [1, 1000])
def test_columns_of_images_are_found(tmp_path, columns, features, rows):
    assert read(write(tmp_path / "a.parquet", columns, features, row_group_size=rows)) == IMAGES
    assert read(tmp_path) == IMAGES


LISTS = [[STRUCTS[0], STRUCTS[1]], [], None, [STRUCTS[2]], [STRUCTS[3]]]


@pytest.mark.parametrize("kind", [pa.list_, pa.large_list])
@pytest.mark.parametrize(
    "features", [None, {"images": {"_type": "Sequence", "feature": FEATURE}}, {"images": [FEATURE]}, {"images": FEATURE}]
)
@pytest.mark.parametrize("rows", [2, 1000])
def test_each_image_of_a_list_is_a_row(tmp_path, kind, features, rows):
    file = write(tmp_path / "a.parquet", {"images": pa.array(LISTS, kind(STRUCT))}, features, row_group_size=rows)
    assert read(file) == IMAGES
    names = [sample.path for sample in load_dataset(file, labelled=False)]
    assert names == ["a.parquet/000000.0-0.png", "a.parquet/000000.1-1.png", "a.parquet/000003.0-2.png", "a.parquet/000004.0-3.png"]


def test_lists_of_plain_bytes_and_of_fixed_size(tmp_path):
    assert read(write(tmp_path / "a.parquet", {"images": pa.array([IMAGES[:3], IMAGES[3:]], pa.list_(pa.binary()))})) == IMAGES
    fixed = pa.array([IMAGES[:2], IMAGES[2:]], pa.list_(pa.binary(), 2))
    assert read(write(tmp_path / "b.parquet", {"imgs": fixed})) == IMAGES


PATHS = [f"files/{number}.png" for number in range(4)]


@pytest.mark.parametrize(
    ("columns", "features"),
    [
        ({"image": pa.array(PATHS)}, {"image": FEATURE}),
        ({"photo": pa.array(PATHS)}, None),
        ({"image": pa.array([{"bytes": None, "path": path} for path in PATHS], STRUCT)}, {"image": FEATURE}),
        ({"img": pa.array([{"path": path} for path in PATHS])}, None),
        ({"images": pa.array([PATHS[:1], PATHS[1:]], pa.list_(pa.string()))}, None),
    ],
)
def test_columns_of_paths_alone(tmp_path, columns, features):
    (tmp_path / "files").mkdir()
    for path, image in zip(PATHS, IMAGES, strict=True):
        (tmp_path / path).write_bytes(image)
    assert read(write(tmp_path / "a.parquet", columns, features)) == IMAGES


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"bytes": None, "path": None}, "the row holds no image"),
        (None, "the row holds no image"),
        ({"bytes": None, "path": "gone.png"}, "there is no file .*gone.png"),
        ({"bytes": None, "path": "https://example.org/a.png"}, "lies at https://example.org/a.png, and nothing is fetched"),
    ],
)
def test_a_row_without_an_image_costs_itself(tmp_path, value, said):
    dataset = load_dataset(write(tmp_path / "a.parquet", {"image": pa.array([STRUCTS[0], value], STRUCT)}), labelled=False)
    assert dataset.read(dataset.samples[0]) == IMAGES[0]
    with pytest.raises(DatasetError, match=said):
        dataset.read(dataset.samples[1])


def test_of_several_columns_the_likeliest_is_read_and_the_others_are_named(tmp_path):
    columns = {"mask": pa.array(STRUCTS[::-1], STRUCT), "image": pa.array(STRUCTS, STRUCT)}
    file = write(tmp_path / "a.parquet", columns, {"mask": FEATURE, "image": FEATURE})
    assert read(file) == IMAGES
    listing = list_samples(file, labelled=False)
    assert len(list(listing.samples)) == 4
    assert listing.left_out.lines() == [f"further columns of images, of which one a file is read (image) (1): {file} (mask)"]
    assert listing.left_out.lost == 1


def test_a_manifest_stays_one(tmp_path):
    file = write(tmp_path / "m.parquet", {"path": ["a.png"], "label": [1], "image": ["other.png"]})
    assert [(sample.path, sample.label, sample.shard) for sample in load_dataset(file)] == [("a.png", 1, None)]
    assert load_dataset(file, labelled=False).layout == "manifest"


# --- Labels ---


def classes(*names: str) -> dict[str, Any]:
    return {"image": FEATURE, "label": {"_type": "ClassLabel", "names": list(names)}}


LABELS: list[tuple[str, dict[str, Any], dict[str, Any] | None, list[tuple[int, str, str]]]] = [
    ("fake first", {"label": [0, 1]}, classes("FAKE", "REAL"), [(1, "unknown", "unknown"), (0, "", "unknown")]),
    ("real first", {"label": [0, 1]}, classes("Real", "AI-generated"), [(0, "", "unknown"), (1, "unknown", "unknown")]),
    ("generators", {"label": [0, 2]}, classes("real", "sdxl", "flux"), [(0, "", "unknown"), (1, "flux", "flux")]),
    ("photographs of two sources", {"label": [1, 0]}, classes("fake", "real_coco"), [(0, "", "real_coco"), (1, "unknown", "unknown")]),
    ("numbers", {"label": [0, 1]}, None, [(0, "", "unknown"), (1, "unknown", "unknown")]),
    ("numbers as classes", {"label": [0, 1]}, classes("0", "1"), [(0, "", "unknown"), (1, "unknown", "unknown")]),
    ("words", {"label": ["Fake", "human"]}, None, [(1, "unknown", "unknown"), (0, "", "unknown")]),
    ("truth", {"label": [False, True]}, None, [(0, "", "unknown"), (1, "unknown", "unknown")]),
    (
        "columns beside",
        {"label": [1, 0], "generator": ["gan", None], "source": [None, "coco"]},
        classes("real", "fake"),
        [(1, "gan", "gan"), (0, "", "coco")],
    ),
    (
        "another column of classes",
        {"kind": [1, 0]},
        {"image": FEATURE, "kind": {"_type": "ClassLabel", "names": {"0": "photo", "1": "ai"}}},
        [(1, "unknown", "unknown"), (0, "", "unknown")],
    ),
]


@pytest.mark.parametrize(("columns", "features", "expected"), [case[1:] for case in LABELS], ids=[case[0] for case in LABELS])
def test_labels(tmp_path, columns, features, expected):
    write(tmp_path / "train-00000-of-00001.parquet", {"image": pa.array(STRUCTS[:2], STRUCT)} | columns, features)
    dataset = load_dataset(tmp_path)
    assert dataset.layout == "parquet images"
    assert [(sample.label, sample.generator, sample.source) for sample in dataset] == expected
    assert {sample.split for sample in dataset} == {"train"}
    assert [dataset.read(sample) for sample in dataset] == IMAGES[:2]


@pytest.mark.parametrize(
    ("columns", "features", "said"),
    [
        ({"label": [0, 1]}, classes("cat", "dog"), "no class of cat, dog is that of photographs"),
        ({"label": [0, -1]}, classes("real", "fake"), r"has no label \(class -1"),
        ({"label": [0, 2]}, classes("real", "fake", "unknown"), "'unknown' says neither real nor generated"),
        ({"label": [0, 2]}, None, "unknown label 2"),
        ({"label": [0, None]}, None, "has no label"),
        ({"text": ["a", "b"]}, None, "has no column of labels"),
    ],
)
def test_labels_that_are_none(tmp_path, columns, features, said):
    write(tmp_path / "a.parquet", {"image": pa.array(STRUCTS[:2], STRUCT)} | columns, features)
    with pytest.raises(DatasetError, match=said):
        load_dataset(tmp_path)
    assert read(tmp_path / "a.parquet") == IMAGES[:2]


@pytest.mark.parametrize(
    ("name", "expected"),
    [("REAL", 0), ("1_fake", 1), ("Not AI", 0), ("non-generated", 0), ("real or fake", None), ("sdxl", None), ("ai-generated image", 1)],
)
def test_what_a_class_means(name, expected):
    assert meaning(name) == expected


@pytest.mark.parametrize(
    ("name", "split"), [("test-0.parquet", "test"), ("validation/0.parquet", "val"), ("0.parquet", None), ("latest.parquet", None)]
)
def test_splits_come_from_names(tmp_path, name, split):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    write(tmp_path / name, {"image": pa.array(STRUCTS[:1], STRUCT), "label": [0]})
    assert [sample.split for sample in load_dataset(tmp_path)] == [split]
