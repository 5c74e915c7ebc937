"""The command that makes a data set of a folder, run as its user runs it."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import lrstudy
from lrstudy.study.build_text_dataset import main
from lrstudy.study.errors import ConfigError, StudyError
from lrstudy.study.text_folder import TextFolder, build
from lrstudy.tasks import TensorflowDataset

TOOL = Path(lrstudy.__file__).parents[1] / "tools/build_text_dataset.py"


def folder(root, count=30):
    """Texts in folders, and what is none."""
    source = root / "source"
    (source / "inner").mkdir(parents=True)
    for number in range(count):
        place = source / "inner" / f"{number:03}.md" if number % 3 else source / f"{number:03}.txt"
        place.write_text(f"text {number}\n" * (number + 1))
    (source / "image.png").write_bytes(b"\x89PNG\0\0")
    (source / ".hidden").write_text("hidden")
    (source / "é.txt").write_bytes(b"latin \xe9\n")
    return source


def tool(*arguments, **options):
    command = [sys.executable, "-W", "error", str(TOOL), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=TOOL.parents[1], **options)


def arguments(root, *further):
    return [f"--source={root / 'source'}", f"--data_dir={root / 'data'}", "--name=mine", *further]


def contents(root):
    return {path.relative_to(root): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def test_a_folder_becomes_a_data_set_that_a_task_finds_and_the_same_one_every_time(tmp_path):
    source = folder(tmp_path)
    done = tool(*arguments(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    assert "28 texts to train on and 3 held out (1 files that are no texts left out)" in done.stdout
    task = TensorflowDataset(
        name="mine", data_dir=str(tmp_path / "data"), validation_split="validation", context=5, validation_windows=4
    )
    assert task.facts()["examples"] == 28
    texts = {path.read_bytes() for path in source.rglob("*") if path.suffix in (".md", ".txt")}
    tokens = task.load()["train"].tolist()
    found = bytes(token if token < 256 else 0 for token in tokens).split(b"\0")
    # The windows leave the last few tokens out.
    assert set(found[:-1]) <= texts
    assert len(found) == 28
    again = tool(*arguments(tmp_path))
    assert again.returncode == 0
    assert "is there already" in again.stdout
    # Another process, whose hashes of strings are others.
    elsewhere = tmp_path / "elsewhere"
    environment = {**os.environ, "PYTHONHASHSEED": "123"}
    assert tool(*arguments(tmp_path), f"--data_dir={elsewhere}", env=environment).returncode == 0
    assert contents(elsewhere / "mine") == contents(tmp_path / "data/mine")


def test_an_example_is_a_file_with_its_path(tmp_path):
    import tensorflow_datasets as tfds

    source = folder(tmp_path)
    build(TextFolder.read(source), tmp_path / "data", "mine")
    builder = tfds.builder_from_directory(str(tmp_path / "data/mine/1.0.0"))
    found = {}
    for split in ("train", "validation"):
        paths = [example["path"] for example in builder.as_data_source(split)]
        assert paths == sorted(paths)
        found |= {example["path"]: example["text"] for example in builder.as_data_source(split)}
    plain = {
        os.fsencode(p.relative_to(source)): p.read_bytes() for p in source.rglob("*") if p.suffix in (".md", ".txt")
    }
    assert found == plain


def test_suffixes_choose_files(tmp_path):
    source = folder(tmp_path)
    found = TextFolder.read(source, (".md",))
    assert {text.path.suffix for text in (*found.train, *found.validation)} == {".md"}
    assert len(found.train) + len(found.validation) == 20
    assert found.left_out == 0


def test_a_folder_that_cannot_be_read_is_not_left_out_without_a_word(tmp_path, monkeypatch, capsys):
    source, listed = folder(tmp_path), os.scandir

    def refused(place):
        if Path(place) == source / "inner":
            raise PermissionError(13, "Permission denied", str(place))
        return listed(place)

    monkeypatch.setattr(os, "scandir", refused)
    assert main(arguments(tmp_path)) == 1
    assert capsys.readouterr().err == f"error: [Errno 13] Permission denied: '{source / 'inner'}'\n"


def test_held_out_copies_of_what_is_trained_on_are_counted(tmp_path, capsys):
    source = folder(tmp_path)
    plain = TextFolder.read(source)
    assert plain.known == 0
    held_out = plain.validation[0]
    for number in range(20):
        (source / f"copy {number}.txt").symlink_to(held_out.path)
        (source / f"empty {number}.txt").touch()
    found = TextFolder.read(source)
    contents = [text.sha256 for text in found.train if text.size]
    expected = sum(text.sha256 in contents for text in found.validation)
    assert found.known == expected > 0
    assert main(arguments(tmp_path)) == 0
    assert (
        f" held out (1 files that are no texts left out), {expected} of which also stand among "
        in capsys.readouterr().out
    )


def test_data_sets_are_not_kept_among_the_texts(tmp_path, capsys):
    source = folder(tmp_path)
    assert main([*arguments(tmp_path), f"--data_dir={source / 'data'}"]) == 2
    rule = "data_dir must be outside of the folder of texts"
    assert capsys.readouterr().err == f"error: {rule}, got '{source / 'data'}' in '{source}'\n"
    assert not (source / "data").exists()


def test_which_files_are_held_out_hardly_depends_on_the_others(tmp_path):
    source = folder(tmp_path, count=200)
    before = {text.name for text in TextFolder.read(source).validation}
    (source / "new.txt").write_text("new")
    after = {text.name for text in TextFolder.read(source).validation}
    assert len(before) == len(after) == 20
    assert len(before & after) >= 19
    assert [len(TextFolder.read(source, (), share).validation) for share in (0.5, 1e-6, 1 - 1e-6)] == [101, 1, 201]


def test_another_folder_under_the_same_name_needs_to_be_asked_for(tmp_path, capsys):
    source = folder(tmp_path)
    assert main(arguments(tmp_path)) == 0
    before = contents(tmp_path / "data/mine")
    (source / "000.txt").write_text("changed")
    assert main(arguments(tmp_path)) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: name must be new, or --overwrite given, got 'mine', of which '")
    assert error.count("\n") == 1
    assert contents(tmp_path / "data/mine") == before
    assert main(arguments(tmp_path, "--overwrite")) == 0
    after = contents(tmp_path / "data/mine")
    assert after != before
    (source / "000.txt").write_text("text 0\n")
    assert main(arguments(tmp_path, "--overwrite")) == 0
    assert contents(tmp_path / "data/mine") == before


def test_a_damaged_one_is_built_again(tmp_path, capsys):
    folder(tmp_path)
    assert main(arguments(tmp_path)) == 0
    whole = contents(tmp_path / "data/mine")
    (path,) = (tmp_path / "data/mine/1.0.0").glob("*train*")
    path.write_bytes(path.read_bytes()[:1000])
    assert main(arguments(tmp_path)) == 0
    assert "is built" in capsys.readouterr().out
    assert contents(tmp_path / "data/mine") == whole


def test_a_long_folder_is_cut_into_files(tmp_path, monkeypatch):
    source = folder(tmp_path)
    monkeypatch.setattr("lrstudy.study.text_folder._SHARD_BYTES", 500)
    build(TextFolder.read(source), tmp_path / "data", "mine")
    assert len(list((tmp_path / "data/mine/1.0.0").glob("*train*"))) > 3
    task = TensorflowDataset(name="mine", data_dir=str(tmp_path / "data"), validation_split="validation", context=5)
    assert task.facts()["examples"] == 28


@pytest.mark.parametrize("seconds", [0.3, 0.5])
def test_a_killed_build_leaves_nothing_that_looks_finished_and_the_same_command_finishes(tmp_path, seconds):
    folder(tmp_path, count=1000)
    command = [sys.executable, str(TOOL), *arguments(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=TOOL.parents[1])
    time.sleep(seconds)
    process.send_signal(signal.SIGKILL)
    process.wait()
    if process.returncode != 0:
        assert not (tmp_path / "data/mine").exists() or (tmp_path / "data/mine/1.0.0/metadata.json").exists()
    assert tool(*arguments(tmp_path)).returncode == 0
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == [".mine.lock", "mine"]
    task = TensorflowDataset(name="mine", data_dir=str(tmp_path / "data"), validation_split="validation", context=5)
    assert task.facts()["examples"] == 901


def test_what_a_killed_build_left_is_cleared_away(tmp_path, monkeypatch):
    source = folder(tmp_path)
    found = TextFolder.read(source)

    def killed(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("lrstudy.study.text_folder.shutil.rmtree", lambda *args, **options: None)
        patched.setattr("lrstudy.study.text_folder.TextFile.text", killed)
        with pytest.raises(KeyboardInterrupt):
            build(found, tmp_path / "data", "mine")
    assert (tmp_path / "data/.mine.unfinished").is_dir()
    with pytest.raises(ValueError, match=r"^task\.name must be a data set of the TFDS catalogue"):
        TensorflowDataset(name="mine", data_dir=str(tmp_path / "data"))
    build(found, tmp_path / "data", "mine")
    assert not (tmp_path / "data/.mine.unfinished").exists()


def test_two_processes_do_not_build_one_data_set(tmp_path):
    from lrstudy.study.text_folder import _alone

    found = TextFolder.read(folder(tmp_path))
    (tmp_path / "data").mkdir()
    with _alone(tmp_path / "data", "mine"), pytest.raises(StudyError, match=r"^another process builds 'mine' in '"):
        build(found, tmp_path / "data", "mine")


def test_a_file_that_changes_meanwhile_is_noticed(tmp_path):
    source = folder(tmp_path)
    found = TextFolder.read(source)
    (source / "000.txt").write_text("changed")
    (source / "001.md").unlink(missing_ok=True)
    with pytest.raises(StudyError, match=r"000\.txt' was changed while the data set was built$"):
        build(found, tmp_path / "data", "mine")
    assert not (tmp_path / "data/mine").exists()


@pytest.mark.parametrize(
    ("further", "expected"),
    [
        (["--sorce=x"], "Unknown command line flag 'sorce'. Did you mean: source ?"),
        (["--name="], "name must be given: --name=..."),
        (["--name=My-Set"], "name must be lower-case letters, digits and underscores, a letter first, got 'My-Set'"),
        (["--source=/nowhere"], "source must be a folder, got '/nowhere'"),
        (["--suffixes=md"], "suffixes must each begin with a dot, got 'md'"),
        (["--suffixes=.rst"], "source must hold at least two text files, got "),
        (["--validation_fraction=1"], "validation_fraction must be in (0, 1), got 1.0"),
        (["--validation_fraction=x"], "flag --validation_fraction=x: could not convert string to float: 'x'"),
        (["stray"], "unexpected argument 'stray': flags begin with --"),
    ],
)
def test_a_wrong_command_line_is_one_line_and_exit_code_2(tmp_path, capsys, further, expected):
    folder(tmp_path, count=3)
    assert main(arguments(tmp_path, *further)) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {expected}")
    assert error.count("\n") == 1
    assert not (tmp_path / "data").exists()


def test_help_says_what_there_is(capsys):
    assert main(["--help"]) == 0
    printed = capsys.readouterr().out
    assert "--validation_fraction" in printed
    assert "python -m lrstudy.study.build_text_dataset --source=FOLDER" in printed


def test_help_is_quick():
    code = "import sys, lrstudy.study.build_text_dataset; print(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"jax", "tensorflow_datasets", "numpy"} & set(done.stdout.split())


def test_the_digest_is_of_names_contents_and_splits(tmp_path):
    source = folder(tmp_path)
    first = TextFolder.read(source)
    assert first.sha256 == TextFolder.read(source).sha256
    assert len({first.sha256, TextFolder.read(source, (), 0.2).sha256, TextFolder.read(source, (".md",)).sha256}) == 3
    assert first.train[0].sha256 == hashlib.sha256(first.train[0].path.read_bytes()).hexdigest()
    with pytest.raises(ConfigError, match=r"^source must be a folder, got "):
        TextFolder.read(source / "000.txt")
    assert np.sum([text.size for text in first.train]) == sum(text.path.stat().st_size for text in first.train)
