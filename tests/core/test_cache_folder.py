"""One process at a time fills a folder of the cache."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from dgsnet.core.cache_folder import locked


def test_another_process_waits_until_the_folder_is_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DGSNET_CACHE", str(tmp_path))
    folder, trace = tmp_path / "weights" / "tiny", tmp_path / "trace"
    script = (
        "import sys; from pathlib import Path; from dgsnet.core.cache_folder import locked\n"
        "print('ready', flush=True)\n"
        "with locked(Path(sys.argv[1])), open(sys.argv[2], 'a') as trace: trace.write('theirs ')"
    )
    with locked(folder):
        other = subprocess.Popen([sys.executable, "-c", script, folder, trace], stdout=subprocess.PIPE, text=True)
        assert other.stdout is not None
        assert other.stdout.readline() == "ready\n"
        with pytest.raises(subprocess.TimeoutExpired):
            other.wait(timeout=0.5)
        trace.write_text("ours ")
    other.stdout.close()
    assert other.wait(timeout=30) == 0
    assert trace.read_text() == "ours theirs "
    assert [file.name for file in (tmp_path / "downloads").iterdir()] == ["tiny.lock"]


def test_folders_of_other_names_do_not_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DGSNET_CACHE", str(tmp_path))
    with locked(tmp_path / "one"), locked(tmp_path / "other"):
        pass
    with locked(tmp_path / "one"):  # left free
        pass
