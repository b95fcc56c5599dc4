"""`manage.py spamscore` gives what the relay gives; `train_spam` is deterministic and refuses what it cannot use."""

from __future__ import annotations

import io
import json
import lzma
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from gateway.spam import score
from tests.gateway.spam.mails import HAM, SPAM


def mbox(messages: dict[str, bytes]) -> bytes:
    parts = []
    for source, raw in messages.items():
        lines = raw.replace(b"\r\n", b"\n").split(b"\n")
        quoted = [b">" + line if line.lstrip(b">").startswith(b"From ") else line for line in lines]
        parts.append(f"From {source} Tue Jun  3 10:12:00 2025\n".encode() + b"\n".join(quoted) + b"\n")
    return b"".join(parts)


def lines_of(path: Path | None = None) -> list[dict[str, object]]:
    out = io.StringIO()
    call_command("spamscore", *([str(path)] if path else []), stdout=out)
    return [json.loads(line) for line in out.getvalue().splitlines()]


@pytest.mark.django_db
@pytest.mark.parametrize("packed", [False, True])
def test_spamscore_of_an_mbox(tmp_path: Path, packed: bool) -> None:
    path = tmp_path / ("mail.mbox.xz" if packed else "mail.mbox")
    data = mbox({**HAM, **SPAM})
    path.write_bytes(lzma.compress(data) if packed else data)
    found = lines_of(path)
    assert [line["score"] for line in found] == [
        round(score(raw).value, 2) for raw in {**HAM, **SPAM}.values()
    ]
    assert {line["category"] for line in found[: len(HAM)]} == {"clean"}
    assert all(
        {"name", "share", "description"} <= set(symbol) for line in found for symbol in line["symbols"]
    )  # type: ignore[attr-defined]


@pytest.mark.django_db
@pytest.mark.parametrize("name", ["en-phishing-mailbox", "de-newsletter"])
def test_spamscore_of_one_message_and_of_standard_input(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = {**HAM, **SPAM}[name]
    path = tmp_path / "one.eml"
    path.write_bytes(raw)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(raw)))
    expected = json.loads(json.dumps(score(raw).as_json()))
    for line in (lines_of(path)[0], lines_of()[0]):
        for symbol in line["symbols"]:  # type: ignore[attr-defined]
            del symbol["description"]
        assert line == expected


@pytest.mark.django_db
def test_spamscore_in_german_with_local_learning(tmp_path: Path) -> None:
    from gateway.models import LocalWord
    from gateway.spam.features import extract
    from gateway.spam.learn import TOTAL, LocalCounts, add

    path = tmp_path / "one.eml"
    path.write_bytes(SPAM["de-phishing-parcel"])
    before = lines_of(path)[0]
    counts = LocalCounts()
    for _ in range(5):
        counts = add(counts, extract(SPAM["de-phishing-parcel"]), False)
    LocalWord.objects.bulk_create(
        [LocalWord(feature=number, ham=ham, spam=spam) for number, (ham, spam) in counts.features.items()]
        + [LocalWord(feature=TOTAL, ham=counts.ham, spam=counts.spam)]
    )
    out = io.StringIO()
    call_command("spamscore", str(path), "--language", "de", stdout=out)
    after = json.loads(out.getvalue())
    assert after["score"] < before["score"]  # type: ignore[operator]
    assert (
        after["symbols"][-1]["description"]
        == "Was dieses Gateway aus Entscheidungen über frühere Mails gelernt hat"
    )


@pytest.mark.django_db
@pytest.mark.parametrize(("name", "data"), [("missing.mbox", None), ("broken.mbox.xz", b"no xz at all")])
def test_spamscore_says_what_is_wrong_with_a_file(tmp_path: Path, name: str, data: bytes | None) -> None:
    path = tmp_path / name
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(CommandError):
        lines_of(path)


def test_training_is_deterministic_and_tells_both_apart(tmp_path: Path) -> None:
    pytest.importorskip("scipy", reason="training needs the development requirements")
    from gateway.spam.tables import load

    (tmp_path / "ham.mbox").write_bytes(
        mbox({f"h{n}:{name}": raw for n in range(3) for name, raw in HAM.items()})
    )
    (tmp_path / "spam.mbox").write_bytes(
        mbox({f"h{n}:{name}": raw for n in range(3) for name, raw in SPAM.items()})
    )
    for out in ("a.bin", "b.bin"):
        call_command(
            "train_spam",
            str(tmp_path),
            "--out",
            str(tmp_path / out),
            stdout=io.StringIO(),
            stderr=io.StringIO(),
        )
    assert (tmp_path / "a.bin").read_bytes() == (tmp_path / "b.bin").read_bytes()
    assert (tmp_path / "a.bin").stat().st_size < 1024 * 1024
    tables = load(tmp_path / "a.bin")
    worst = max(score(raw, tables=tables).value for raw in HAM.values())
    assert worst < min(score(raw, tables=tables).value for raw in SPAM.values())


@pytest.mark.parametrize("name", ["mail.mbox", "ham.mbox"])
def test_training_refuses_files_it_cannot_use(tmp_path: Path, name: str) -> None:
    pytest.importorskip("scipy", reason="training needs the development requirements")
    (tmp_path / name).write_bytes(mbox(HAM))
    with pytest.raises(CommandError):
        call_command(
            "train_spam", str(tmp_path / name), "--out", str(tmp_path / "x.bin"), stderr=io.StringIO()
        )
    assert not (tmp_path / "x.bin").exists()
