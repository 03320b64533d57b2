"""The four data rules, each fault with its line, byte, reason and cure."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpt.contracts import NoOptions
from cpt.data import faulty_line, lines
from cpt.data.faulty_line import LineFault, diagnose
from cpt.data.jsonl import fix, read_texts, validate
from cpt.data.sources import JsonlSource
from cpt.errors import DataError, StorageError

FAULTY_LINES: dict[bytes, str] = {
    b'{"text": "a"': "is not valid JSON: Expecting ',' delimiter, column 13",
    b"plain text": "is not valid JSON: Expecting value, column 1",
    b'{"text": "a"} {"text": "b"}': "is not valid JSON: Extra data, column 15",
    b'{"text": NaN}': "is not valid JSON: NaN is no JSON value",
    b'{"text": "a\x00b"}': "is not valid JSON: Invalid control character at, column 12",
    b'["text"]': "is an array, not an object",
    b'"text"': "is a string, not an object",
    b"null": "is null, not an object",
    b"{}": "has no field `text`",
    b'{"body": "a"}': "has no field `text`, only `body`",
    b'{"Text": "a"}': "has no field `text`, only `Text`",
    b'{"messages": [{"role": "user", "content": "a"}]}': "has no field `text`, only `messages`",
    b'{"text": 1}': "has a number in `text`, not a string",
    b'{"text": null}': "has null in `text`, not a string",
    b'{"text": {"text": "a"}}': "has an object in `text`, not a string",
    b'{"text": ["a"], "id": 3}': "has an array in `text`, not a string, and has further fields: `id`",
    b'{"text": "a", "id": 3, "lang": "en"}': "has further fields: `id`, `lang`",
    b'{"text": "a", "text": "b"}': "has `text` more than once",
    b'{"text": "a", "te\\u0078t": "b"}': "has `text` more than once",
    b'{"text": "a\\\\", "text": "b"}': "has `text` more than once",
    b"": "is blank",
    b"  \t": "is blank",
    b'{"text": "caf\xe9"}': "is not UTF-8 at byte 14 of the line",
    b'\xff\xfe{\x00"\x00t\x00': "is UTF-16",
    b'\xef\xbb\xbf{"text": "a"}': "begins with a byte order mark",
    b'{"text": "\\ud800"}': "has half a surrogate pair in `text`",
    b'{"text": "\\udc00\\ud800 x"}': "has half a surrogate pair in `text`",
    b"[" * 100_000: "is not valid JSON",
}
VALID_LINES: dict[bytes, str] = {
    b'{"text": "a"}': "a",
    b'\t { "text"\t:"a" } ': "a",
    b'{"text": ""}': "",
    b'{"text": "  "}': "  ",
    b'{"te\\u0078t": "a"}': "a",
    b'{"text": "\\u0000"}': "\0",
    b'{"text": "\\ud83d\\ude00"}': "😀",
    b'{"text": "a\\\\"}': "a\\",
    b'{"text": "\\"text\\": \\"b\\", \\\\"}': '"text": "b", \\',
    '{"text": "naïve 😀"}'.encode(): "naïve 😀",
    b'{"text": "{\\"text\\": 1}"}': '{"text": 1}',
    b'{"text": "a"}\r': "a",
}


def write(path: Path, content: list[bytes]) -> str:
    path.write_bytes(b"\n".join(content) + b"\n")
    return str(path)


def test_every_fault_of_a_nasty_file_has_its_line_its_byte_and_its_reason(tmp_path: Path) -> None:
    content: list[bytes] = []
    for faulty, valid in zip(FAULTY_LINES, [*VALID_LINES] * 3, strict=False):
        content += [valid, faulty]
    file = write(tmp_path / "nasty.jsonl", content)
    report = validate(file)
    assert report.fault_count == len(FAULTY_LINES)
    assert report.documents == len(FAULTY_LINES)
    for place, (fault, reason) in enumerate(zip(report.faults, FAULTY_LINES.values(), strict=True)):
        line = 2 * place + 2
        assert (fault.file, fault.line) == (file, line)
        assert fault.offset == sum(len(before) + 1 for before in content[: line - 1])
        assert fault.reason.startswith(reason)
        assert fault.cure


def test_valid_lines_give_their_texts(tmp_path: Path) -> None:
    file = write(tmp_path / "a.jsonl", [*VALID_LINES])
    assert validate(file).valid
    assert list(read_texts(file)) == [*VALID_LINES.values()]


def test_the_last_line_needs_no_line_end(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_bytes(b'{"text": "a"}\r\n{"text": "b"}')
    assert list(read_texts(str(file))) == ["a", "b"]


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_fast_and_slow_way_agree(value: object) -> None:
    for tree in (value, {"text": value}, {"text": "a", "b": value}):
        for is_ascii in (True, False):
            line = json.dumps(tree, ensure_ascii=is_ascii).encode("utf-8", "surrogatepass")
            assert lines.text_of(line) == diagnose(line)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_every_text_comes_back(text: str) -> None:
    for is_ascii in (True, False):
        assert lines.text_of(json.dumps({"text": text}, ensure_ascii=is_ascii).encode()) == text


@given(st.binary(max_size=40))
def test_no_bytes_are_beyond_diagnosis(line: bytes) -> None:
    assert isinstance(lines.text_of(b'{"text": "' + line), LineFault | str)
    assert isinstance(lines.text_of(line), LineFault | str)


def test_chat_data_gets_its_own_cure(tmp_path: Path) -> None:
    report = validate(write(tmp_path / "a.jsonl", [b'{"prompt": "a", "completion": "b"}']))
    assert "chat data" in report.faults[0].cure


@pytest.mark.parametrize("name", ["a.json", "a.txt", "a.JSONL", "jsonl", "a.jsonl.gz"])
def test_another_extension_is_a_fault_of_the_file(tmp_path: Path, name: str) -> None:
    report = validate(write(tmp_path / name, [b'{"text": "a"}']))
    assert [(fault.line, fault.reason) for fault in report.faults] == [(None, "must end in .jsonl")]


def test_files_that_are_missing_empty_or_unmatched_are_faults_beside_those_of_the_others(tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").touch()
    bad = write(tmp_path / "bad.jsonl", [b"{}"])
    report = validate([str(tmp_path / "none.jsonl"), str(tmp_path / "empty.jsonl"), str(tmp_path / "x*.jsonl"), bad])
    assert report.fault_count == 4
    assert {fault.file for fault in report.faults if fault.line is None} == {
        str(tmp_path / name) for name in ("none.jsonl", "empty.jsonl", "x*.jsonl")
    }


def test_globs_and_folders_stand_for_their_files(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(tmp_path / f"{name}.jsonl", [b'{"text": "a"}'])
    for location in (str(tmp_path), str(tmp_path / "*.jsonl")):
        assert len(validate(location).files) == 2


def test_a_thousand_faults_are_reported_twenty_shown_and_all_counted(tmp_path: Path) -> None:
    content = [b'{"text": "a"}'] * 50_000
    content[40_000] = b"oops"
    assert [fault.line for fault in validate(write(tmp_path / "one.jsonl", content)).faults] == [40_001]
    report = validate(write(tmp_path / "many.jsonl", [b"oops"] * 1_500))
    assert (report.fault_count, len(report.faults), len(report.shown())) == (1_500, 1_000, 21)
    assert "1,500 faults in all" in str(report.shown()[-1])
    document = json.loads(json.dumps(report.to_json()))
    assert set(document) == {"valid", "files", "documents", "fault_count", "faults"}
    assert set(document["faults"][0]) == {"file", "line", "offset", "reason", "cure"}


def test_a_line_beyond_the_limit_is_one_fault_and_the_next_line_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "LONGEST_LINE_BYTES", 100)
    monkeypatch.setattr(faulty_line, "LONGEST_LINE_BYTES", 100)
    long = b'{"text": "' + b"a" * 1_000 + b'"}'
    report = validate(write(tmp_path / "a.jsonl", [long, b'{"text": "a"}', long, b"{}"]))
    assert [(fault.line, fault.offset) for fault in report.faults] == [(1, 0), (3, 1027), (4, 2040)]
    assert report.documents == 1


def test_a_file_of_one_endless_line_does_not_take_the_memory(tmp_path: Path) -> None:
    file = tmp_path / "endless.jsonl"
    with file.open("wb") as stream:
        stream.write(b'{"text": "')
        stream.truncate(1 << 30)  # sparse
    code = f"from cpt.data.jsonl import validate; print(validate({str(file)!r}).faults[0].reason)"
    limit = 600 << 20
    done = subprocess.run(
        [sys.executable, "-c", code],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
        env={"OPENBLAS_NUM_THREADS": "1", "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "is longer than 64 MiB\n", done.stderr


def test_fix_keeps_every_text_that_is_beyond_doubt(tmp_path: Path) -> None:
    file = write(tmp_path / "nasty.jsonl", [*FAULTY_LINES, *VALID_LINES])
    out = tmp_path / "clean.jsonl"
    report = fix(file, str(out))
    assert validate(str(out)).valid
    assert list(read_texts(str(out))) == ["a", "a", "�", "�� x", *VALID_LINES.values()]
    assert report.kept == {"further fields": 1, "byte order mark": 1, "half a surrogate pair": 2}
    assert report.dropped.total() == len(FAULTY_LINES) - 4
    assert report.documents == 4 + len(VALID_LINES)
    assert any("further fields: 1 kept, 0 dropped" in line for line in report.lines())


def test_fix_does_not_write_over_its_input(tmp_path: Path) -> None:
    file = write(tmp_path / "a.jsonl", [b'{"text": "a", "b": 1}'])
    with pytest.raises(DataError, match="is one of the files to mend"):
        fix(str(tmp_path / "*.jsonl"), str(tmp_path / "." / "a.jsonl"))
    assert Path(file).read_bytes().startswith(b'{"text": "a", "b": 1}')
    assert [path.name for path in tmp_path.iterdir()] == ["a.jsonl"]


def test_fix_that_can_keep_nothing_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no line holds a text"):
        fix(write(tmp_path / "a.jsonl", [b"oops"]), str(tmp_path / "b.jsonl"))
    with pytest.raises(DataError, match=r"must end in \.jsonl"):
        fix(str(tmp_path / "a.jsonl"), str(tmp_path / "b.json"))
    with pytest.raises(StorageError):
        fix(str(tmp_path / "none.jsonl"), str(tmp_path / "b.jsonl"))
    assert [path.name for path in tmp_path.iterdir()] == ["a.jsonl"]


def test_only_content_decides_fingerprint_and_order(tmp_path: Path) -> None:
    for folder, names in (("one", "ab"), ("two", "yx")):
        (tmp_path / folder).mkdir()
        for name, text in zip(names, ("first", "second"), strict=True):
            write(tmp_path / folder / f"{name}.jsonl", [json.dumps({"text": text}).encode()])
    one, two = JsonlSource(NoOptions()), JsonlSource(NoOptions())
    first, second = [str(tmp_path / "one")], [str(tmp_path / "two")]
    assert one.fingerprint(first) == two.fingerprint(second)
    assert list(one.documents(first)) == list(two.documents(second))
    write(tmp_path / "two" / "x.jsonl", [b'{"text": "third"}'])
    assert JsonlSource(NoOptions()).fingerprint(second) != one.fingerprint(first)


def test_a_file_that_changes_after_validation_is_noticed(tmp_path: Path) -> None:
    file = write(tmp_path / "a.jsonl", [b'{"text": "a"}'])
    source = JsonlSource(NoOptions())
    source.fingerprint([file])
    write(tmp_path / "a.jsonl", [b'{"text": "b"}'])
    with pytest.raises(DataError, match="has changed"):
        list(source.documents([file]))
