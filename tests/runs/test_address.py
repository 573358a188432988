from __future__ import annotations

from pathlib import Path

import fsspec
import pytest

from wsiparse.cli import main


class NoCredentialsError(Exception):
    """As botocore names it."""


class LockedStore:
    """Asks for a key at the first touch, whatever is asked of it."""

    def __getattr__(self, name: str) -> object:
        def refuse(*arguments: object, **options: object) -> None:
            raise NoCredentialsError("Unable to locate credentials")

        return refuse if name != "invalidate_cache" else lambda: None


@pytest.mark.parametrize("command", ["report s3://bucket/night", "export s3://bucket/night --format csv"])
def test_what_reads_folders_alone_says_so_of_an_address(command: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(command.split()) == 2
    assert "an address, expected a folder; copy here what you need" in capfd.readouterr().err


@pytest.mark.parametrize("command", ["status s3://bucket/night", "run slide.svs -o s3://bucket/night"])
def test_credentials_that_nobody_gave_do_not_come_by_waiting(
    command: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(fsspec.core, "url_to_fs", lambda url: (LockedStore(), url))
    monkeypatch.setenv("WSIPARSE_STAGING", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    Path("slide.svs").touch()
    assert main(command.split()) == 2
    error = capfd.readouterr().err
    assert error == (
        "wsiparse: s3://bucket/night: Unable to locate credentials; give credentials, for S3 AWS_ACCESS_KEY_ID and its "
        "like\n"
    )
