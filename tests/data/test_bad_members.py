"""Archives with something good in them: what is bad is refused, named, and the rest is read."""

from __future__ import annotations

import io
import os
import stat
import tarfile
import warnings
import zipfile
from pathlib import Path

import pytest

from tests.data.pictures import good, picture
from tlkit.data import check
from tlkit.data.members import MAX_MEMBER_BYTES


def test_bad_members_of_a_zip_are_refused(tmp_path: Path):
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for name, data in good().items():
            archive.writestr(name, data)
        archive.writestr("../../a/out.png", picture(1))
        link = zipfile.ZipInfo("a/link.png")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
        archive.writestr("b/crc.png", picture(2))
    data = bytearray((tmp_path / "set.zip").read_bytes())
    at = data.index(b"b/crc.png") + len("b/crc.png") + 20
    data[at] ^= 0xFF
    (tmp_path / "set.zip").write_bytes(data)
    manifest, audit = check(str(tmp_path / "set.zip"))
    found = {finding.kind: finding.items for finding in audit.findings}
    assert found["unsafe name"] == ("../../a/out.png",)
    assert found["link in the archive"] == ("a/link.png",)
    assert [(row.item, row.kind) for row in audit.set_aside] == [("b/crc.png", "unreadable")]
    assert "damaged in the archive" in audit.set_aside[0].problem
    assert manifest.usable.sum() == 6
    assert os.listdir(tmp_path) == ["set.zip"]


def test_encrypted_and_repeated_members_of_a_zip(tmp_path: Path):
    with warnings.catch_warnings(), zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        warnings.simplefilter("ignore")  # Of the repeated name.
        for name, data in [*good().items(), ("a/0.png", picture(99)), ("b/locked.png", picture(3))]:
            archive.writestr(name, data)
    data = bytearray((tmp_path / "set.zip").read_bytes())
    at = data.rindex(b"PK\x01\x02")  # The directory's entry of the last member.
    data[at + 8] |= 1
    (tmp_path / "set.zip").write_bytes(data)
    manifest, audit = check(str(tmp_path / "set.zip"))
    found = {finding.kind: finding.items for finding in audit.findings}
    assert found["encrypted"] == ("b/locked.png",)
    assert found["repeated name"] == ("a/0.png",)
    assert len(manifest) == 6


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_bad_members_of_a_tar_are_refused(tmp_path: Path, mode: str):
    with tarfile.open(tmp_path / "set.tar", mode) as archive:
        entries = [(name, tarfile.REGTYPE, data) for name, data in good().items()]
        entries += [("/a/absolute.png", tarfile.REGTYPE, picture(1)), ("a/../../out.png", tarfile.REGTYPE, picture(1))]
        entries += [("a/link.png", tarfile.SYMTYPE, b""), ("a/hard.png", tarfile.LNKTYPE, b"")]
        entries += [("a/disk.png", tarfile.BLKTYPE, b""), ("a/pipe.png", tarfile.FIFOTYPE, b"")]
        for name, kind, data in entries:
            entry = tarfile.TarInfo(name)
            entry.type, entry.size, entry.linkname = kind, len(data), "/etc/passwd"
            archive.addfile(entry, io.BytesIO(data))
    manifest, audit = check(str(tmp_path / "set.tar"))
    assert {finding.kind: finding.items for finding in audit.findings if "archive" in finding.message} == {
        "unsafe name": ("/a/absolute.png", "a/../../out.png"),
        "link in the archive": ("a/link.png", "a/hard.png"),
        "device in the archive": ("a/disk.png", "a/pipe.png"),
    }
    assert manifest.usable.sum() == 6
    assert os.listdir(tmp_path) == ["set.tar"]


def test_a_member_too_large_for_anyone_is_refused(tmp_path: Path):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, data in good().items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
        entry = tarfile.TarInfo("b/vast.png")
        entry.size = MAX_MEMBER_BYTES + 1
        file.write(entry.tobuf())
    with open(tmp_path / "set.tar", "wb") as sparse:
        sparse.write(file.getvalue())
        sparse.seek(MAX_MEMBER_BYTES + 20_000, os.SEEK_CUR)
        sparse.write(bytes(1024))
    _, audit = check(str(tmp_path / "set.tar"))
    assert {finding.kind: finding.items for finding in audit.findings}["too large"] == ("b/vast.png",)
