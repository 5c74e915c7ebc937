import hashlib
import os
import sysconfig
from pathlib import Path
from pydoc_data.topics import topics

import numpy as np
import pytest

from lrstudy.tasks import Text
from lrstudy.tasks.corpus import BLOCK_BYTES, read


def joined(corpus, block):
    """The whole text, put together from its parts: nine blocks of training, then one of validation."""
    parts = {True: corpus.validation, False: corpus.train}
    taken, text = {True: 0, False: 0}, []
    for index in range(-(-corpus.size // block)):
        held_out = index % 10 == 9
        here = min(block, corpus.size - index * block)
        text.append(parts[held_out][taken[held_out] : taken[held_out] + here])
        taken[held_out] += here
    # Every byte of both parts was used, once.
    assert taken == {True: corpus.validation.size, False: corpus.train.size}
    return np.concatenate(text).tobytes()


def noise(size):
    return np.random.default_rng(size).bytes(size)


EVERY_BYTE = bytes(range(256))
LINES = "one\r\ntwo\rthree\n\n\ufeffvier ü 𝄞\n".encode()
CONTENTS = {
    "shortest": b"0123456789",
    "eleven": b"0123456789a",
    "every byte": EVERY_BYTE * 3,
    "line ends and unicode": LINES * 7,
    "invalid utf-8": b"\xff\xfe\x80" * 20,
    "just below whole blocks": noise(10 * BLOCK_BYTES - 1),
    "whole blocks": noise(10 * BLOCK_BYTES),
    "a byte more": noise(10 * BLOCK_BYTES + 1),
    "two validation blocks": noise(23 * BLOCK_BYTES + 17),
}


@pytest.mark.parametrize("name", CONTENTS)
def test_any_bytes_come_back_and_are_split_by_blocks(name, tmp_path):
    content = CONTENTS[name]
    path = tmp_path / "text"
    path.write_bytes(content)
    corpus = read(str(path))
    block = min(BLOCK_BYTES, len(content) // 10)
    assert joined(corpus, block) == content
    assert corpus.size == len(content)
    assert corpus.train.dtype == corpus.validation.dtype == np.uint8
    # Nothing is lost or twice, whatever the rule of the split.
    counts = np.bincount(corpus.train, minlength=256) + np.bincount(corpus.validation, minlength=256)
    np.testing.assert_array_equal(counts, np.bincount(np.frombuffer(content, np.uint8), minlength=256))
    # A tenth is held out, up to the one block that the end cuts off.
    assert abs(corpus.validation.size - len(content) / 10) <= block
    assert corpus.validation.size >= block


def test_the_digest_is_that_of_the_file(tmp_path):
    path = tmp_path / "text"
    path.write_bytes(CONTENTS["a byte more"])
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert read(str(path)).sha256 == digest
    assert Text(path=str(path)).facts() == {"sha256": digest, "bytes": 10 * BLOCK_BYTES + 1}


def test_equal_texts_are_split_alike(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    for path in (first, second):
        path.write_bytes(CONTENTS["two validation blocks"])
    np.testing.assert_array_equal(read(str(first)).validation, read(str(second)).validation)


@pytest.mark.parametrize("name", ["with spaces.txt", "Straße 東京.txt", "-dash", "100%", "a'b\"c"])
def test_any_file_name(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(LINES * 7)
    assert joined(read(str(path)), len(LINES * 7) // 10) == LINES * 7


def test_home_is_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "text-in-home").write_bytes(EVERY_BYTE)
    assert read("~/text-in-home").size == 256


def folder_with(root: Path, files: dict[str, bytes]) -> str:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return str(root)


def test_a_folder_is_its_text_files_in_the_order_of_their_names(tmp_path):
    texts = {"a.txt": b"first" * 9, "b/c.md": b"second" * 9, "b/d/e": b"third" * 9, "z.txt": "Ende ü".encode() * 9}
    left_out = {
        ".hidden": b"hidden" * 9,
        ".git/config": b"hidden" * 9,
        "b/.cache/deep/file": b"hidden" * 9,
        "image.png": b"\x89PNG\0binary" * 9,
        "late.bin": b"binary" * 99 + b"\0",
    }
    # Written in an order that is not the one of their names.
    path = folder_with(tmp_path, dict(reversed([*texts.items(), *left_out.items()])))
    expected = b"\n".join(texts.values())
    corpus = read(path)
    assert joined(corpus, len(expected) // 10) == expected
    assert corpus.sha256 == hashlib.sha256(expected).hexdigest()


def test_a_folder_below_a_hidden_one_is_read(tmp_path):
    path = folder_with(tmp_path / ".data" / "books", {"a.txt": EVERY_BYTE[1:]})
    assert read(path).size == 255


def test_a_link_is_read_and_a_dangling_one_is_not(tmp_path):
    path = folder_with(tmp_path / "folder", {"a.txt": b"text" * 9})
    (tmp_path / "elsewhere").write_bytes(b"linked" * 9)
    (tmp_path / "folder" / "b.txt").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "folder" / "c.txt").symlink_to(tmp_path / "nowhere")
    assert read(path).size == 36 + 1 + 54


def message_of(path):
    with pytest.raises(ValueError, match=r"task\.path") as error:
        read(path)
    return str(error.value)


def test_a_missing_file(tmp_path):
    path = str(tmp_path / "missing.txt")
    rule = "a readable file or folder"
    assert message_of(path) == f"task.path must be {rule}, got {path!r}: No such file or directory"
    with pytest.raises(ValueError, match="No such file or directory"):
        Text(path=path).load()


def test_an_unreadable_file(tmp_path):
    # A link to itself cannot be read by anybody, root included.
    path = tmp_path / "loop"
    path.symlink_to(path)
    assert message_of(str(path)).startswith(f"task.path must be a readable file or folder, got {str(path)!r}: ")


def test_an_unreadable_file_in_a_folder(tmp_path, monkeypatch):
    path = folder_with(tmp_path, {"a.txt": EVERY_BYTE, "b.txt": b"text" * 9})
    read_bytes = Path.read_bytes

    def denied(self):
        if self.name == "b.txt":
            raise PermissionError(13, "Permission denied", str(self))
        return read_bytes(self)

    monkeypatch.setattr(Path, "read_bytes", denied)
    assert message_of(path).startswith(f"task.path must be a readable file or folder, got {path!r}: ")


@pytest.mark.parametrize("size", [0, 9])
def test_a_text_that_is_too_short(tmp_path, size):
    path = tmp_path / "short"
    path.write_bytes(b"x" * size)
    rule = f"a text of 10 to {2**31 - 1} bytes"
    assert message_of(str(path)) == f"task.path must be {rule}, got {str(path)!r} of {size} bytes"


def test_a_folder_without_text(tmp_path):
    path = folder_with(tmp_path, {".hidden": EVERY_BYTE, "binary": b"\0" * 99})
    assert message_of(path).endswith(f"got {path!r} of 0 bytes")


def test_the_standard_library(monkeypatch):
    monkeypatch.setattr("socket.socket.connect", None)  # nothing may be fetched
    corpus = read.__wrapped__("stdlib")
    text = joined(corpus, BLOCK_BYTES)
    assert hashlib.sha256(text).hexdigest() == corpus.sha256
    assert Text().facts() == {"sha256": corpus.sha256, "bytes": len(text)}
    # Sources of packages too, several megabytes of them, but none of its tests where they are installed.
    root = Path(sysconfig.get_paths()["stdlib"])
    assert len(text) > 2_000_000
    for name in ("hashlib.py", "json/decoder.py", "asyncio/base_events.py"):
        assert (root / name).read_bytes() in text, name
    for path in sorted(root.glob("test/test_s*.py"))[:5]:
        assert path.read_bytes() not in text, path


def test_topics_are_english_that_comes_with_python(monkeypatch):
    monkeypatch.setattr("socket.socket.connect", None)  # nothing may be fetched
    corpus = read.__wrapped__("topics")
    text = joined(corpus, BLOCK_BYTES)
    assert hashlib.sha256(text).hexdigest() == corpus.sha256
    # Versions differ in what they say, none in whether they say a lot, mostly in words.
    assert len(text) > 300_000
    words = text.lower().split()
    assert words.count(b"the") > 0.03 * len(words)
    # Every topic is there once, whole.
    for name in ("assignment", "with", "context-managers"):
        assert topics[name].encode() in text


def test_code_is_the_standard_library_without_the_topics():
    everything, code = (joined(read(path), BLOCK_BYTES) for path in ("stdlib", "stdlib_code"))
    root = Path(sysconfig.get_paths()["stdlib"])
    left_out = b"\n".join(path.read_bytes() for path in sorted(root.glob("pydoc_data/*.py")))
    assert len(left_out) > 300_000
    assert left_out in everything
    assert everything.replace(left_out + b"\n", b"") == code
    # No sentence of the prose domain is left in the code domain.
    assert topics["assignment"].encode()[:2000] not in code


DATA = os.environ.get("LRSTUDY_DATA")


@pytest.mark.skipif(not DATA, reason="LRSTUDY_DATA does not name a folder with real data")
def test_tiny_shakespeare():
    task = Text(path=str(Path(DATA) / "text" / "tinyshakespeare.txt"))
    assert task.facts() == {
        "sha256": "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
        "bytes": 1_115_394,
    }
    # 1115394 bytes are 272 whole blocks and a rest, so 27 of them are held out.
    data = task.load()
    assert data["train"].size == 1_115_394 - 27 * BLOCK_BYTES
    assert data["validation"].shape == (256, 65)
    # It is English: no byte outside of ASCII.
    assert int(data["train"].max()) < 128


@pytest.mark.parametrize("path", ["", "~no_such_user/x", "x" * 300, "a\0b"])
def test_paths_that_no_file_can_have(path):
    with pytest.raises(ValueError, match=r"^task\.path must be"):
        read(path)
