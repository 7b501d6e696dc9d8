"""One test for each promise of SECURITY.md."""

from __future__ import annotations

import json
import os
import pickle
import stat
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from here import here
from run_folders import change_row, run_folder

from tps_lab import children, files
from tps_lab.ablate import clusters, scheduler
from tps_lab.backbones._options import refuse_files
from tps_lab.errors import InputError
from tps_lab.report import render, tables
from tps_lab.report.grids import folder_name
from tps_lab.report.page import build
from tps_lab.results import runs
from tps_lab.text import code, markdown, printable, short, without_network
from tps_lab.training import model_cards
from tps_lab.training.config import make

EVIL = (
    "<img src=x onerror=alert(1)> $x_{ [red]a[/red] `b` | \x1b[31m\x1b]0;title\x07 \\input{/etc/passwd} 10.0.0.7:6379"
)


# ---------------------------------------------------------------------- what others leave


def test_a_damaged_run_is_left_out_of_a_report_which_exits_with_1(tmp_path: Path) -> None:
    run_folder(tmp_path / "runs", seed=0)
    bad = run_folder(tmp_path / "runs", seed=1)
    (bad / "row.json").unlink()
    os.mkfifo(bad / "row.json")
    said = here("report", tmp_path / "runs", "--out", tmp_path / "page", "--json")
    assert said.returncode == 1
    assert json.loads(said.stdout)["left_out"][0]["path"] == str(bad)
    assert f"left out: {bad}: row.json is no plain file" in " ".join(said.stderr.split())
    assert "Left out" in (tmp_path / "page/index.html").read_text()
    assert "Left out" in (tmp_path / "page/report.md").read_text()


class Evil:
    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.file),)


def test_weights_that_are_a_pickle_are_not_run(tmp_path: Path) -> None:
    from tps_lab.training.train import restore

    run = run_folder(tmp_path)
    (run / "model.safetensors").write_bytes(pickle.dumps(Evil(tmp_path / "pwned")))
    with pytest.raises(InputError, match="weights"):
        restore(runs.open_run(run))
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize(
    "option",
    ["checkpoint_path=/x", "pretrained_cfg={'file': '/x'}", "pretrained_cfg=hf-hub:a/b", "pretrained_cfg=../x",
     "pretrained_cfg_overlay={'url': 'http://x'}", "cache_dir=/x", "pretrained=/x", "pretrained=True",
     "features_only=True", "default_cfg={'file': '/x'}"],
)  # fmt: skip
def test_options_that_make_timm_read_files_are_refused(option: str) -> None:
    with pytest.raises(InputError, match=option.partition("=")[0]):
        make({"backbone": f"vit_micro({option})"})


def test_a_tag_of_timm_is_taken() -> None:
    refuse_files({"pretrained_cfg": "augreg_in21k_ft-in1k.x"})


# ---------------------------------------------------------------------- text is text


SAID = ("title", "question", "command", "remake", "paper_source")


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.found.append((tag, dict(attrs)))


TEXTS = (EVIL, "x" * 20_000, "_hidden", "a\n\\input{/etc/passwd}", "\udcff", "javascript:alert(1)")


@pytest.mark.parametrize("said", [dict(zip(SAID, texts, strict=False)) for texts in (TEXTS, TEXTS[::-1])])
def test_every_field_of_a_page_is_text(tmp_path: Path, said: dict[str, str]) -> None:
    for seed, text in enumerate(TEXTS):
        fields: dict[str, Any] = dict.fromkeys(("label", "name", "case", "reason", "backbone", "ceiling_reason"), text)
        fields |= {"data_notes": [text], "per_class_pct": {text: 50.0}, "per_pair_pct": {f"{text} / b": 50.0}}
        fields |= {"varied": {text: text}, "macs_by_counter": {text: 1}, "missing": {"top5_pct": text}, "id": text}
        fields["classes"] = [text, "b", "c", "d"]
        change_row(run_folder(tmp_path / "runs", seed=seed), **fields)
    left_out: list[runs.LeftOut] = []
    page = build(runs.find(tmp_path / "runs", on_damaged=left_out.append), tmp_path / "page", **said)
    assert not left_out
    html, markdown = page.read_text(), page.with_name("report.md").read_text()
    tags = Tags()
    tags.feed(html)
    assert all(attributes.get("src", "").startswith("data:") for tag, attributes in tags.found if tag == "img")
    assert not [key for _, attributes in tags.found for key in attributes if key.startswith("on")]
    assert not [a for _, a in tags.found if str(a.get("href", "")).startswith("javascript:")]
    assert "\x1b" not in html + markdown
    assert "<img" not in markdown
    tex = page.with_name("results.tex").read_text()
    assert not any(line.startswith("\\input") for line in tex.splitlines())
    assert "x" * 3000 not in html + markdown + tex
    assert "10.0.0.7" not in html + markdown


def test_a_model_card_holds_names_as_text(tmp_path: Path) -> None:
    run = run_folder(tmp_path)
    bad = "x` <img src=x onerror=alert(1)> | [a](javascript:b)"
    row = runs.Run(run).row | {"name": bad, "attention": bad, "backbone": bad, "data_notes": [bad]}
    model_cards.write(run, row, {"data": bad, "weights": bad, "recipe": {"lr": bad}, "seed": 0}, bad, is_video=False)
    card = (run / "README.md").read_text()
    assert "<img" not in card
    assert "[a](" not in card


def test_text_in_latex_markdown_and_a_terminal() -> None:
    assert tables.escaped("a|b <c>\nd") == "a\\textbar{}b \\textless{}c\\textgreater{} d"
    assert tables.escaped("\\input{x}") == "\\textbackslash{}input\\{x\\}"
    assert tables.escaped("[x]*") == "{[}x{]}{*}"
    assert markdown("[a](javascript:b) <i> $x$") == "\\[a\\](javascript:b) &lt;i&gt; \\$x\\$"
    assert "`" not in code("`<img>`").replace("&#96;", "")
    assert printable(EVIL).count("\x1b") == 0
    assert len(short("x" * 20_000)) <= 100
    assert folder_name("javascript:alert(1)") == "javascript_alert_1_"
    assert folder_name("..") == "grid"


def test_nothing_of_a_machines_network_is_in_a_text() -> None:
    worker = "python /x/ray/default_worker.py --node-ip-address=10.0.0.7 --cluster-id=ab"
    assert without_network(worker) == "python (a worker process of a cluster)"
    assert without_network("at 10.0.0.7:6379 and fe80:0:0:1::2").count("[address]") == 2
    assert without_network("torch 2.11.0, driver 1.0.31, 12:30:45") == "torch 2.11.0, driver 1.0.31, 12:30:45"


# ---------------------------------------------------------------------- where we write


def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    run_folder(tmp_path / "runs")
    out, private = tmp_path / "page", tmp_path / "private"
    out.mkdir()
    private.mkdir()
    for name in ("index.html", "report.md", "results.csv", "results.tex"):
        (private / name).write_text("precious")
        (out / name).symlink_to(private / name)
    assert here("report", tmp_path / "runs", "--out", out).returncode == 2
    assert here("report", tmp_path / "runs", "--out", out, "--force").returncode == 0
    assert {file.read_text() for file in private.iterdir()} == {"precious"}
    other = tmp_path / "other"
    other.mkdir()
    (other / "figures").symlink_to(private)
    assert here("report", tmp_path / "runs", "--out", other).returncode == 2
    assert len(list(private.iterdir())) == 4


def test_a_file_is_written_under_a_name_that_nobody_foresees(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("precious")
    for name in ("a.json", "a.json.part", ".a.part.json", ".lock"):
        (tmp_path / name).symlink_to(tmp_path / "secret")
    files.write_whole(tmp_path / "a.json", "{}")
    with pytest.raises(OSError, match=r"link|Too many|symbolic"):
        files.open_to_write(tmp_path / ".lock")
    assert (tmp_path / "secret").read_text() == "precious"
    assert not (tmp_path / "a.json").is_symlink()


def test_a_report_goes_only_where_one_of_ours_stands(tmp_path: Path) -> None:
    run_folder(tmp_path / "runs")
    for name in ("index.html", "report.md", "README.md", "results.csv"):
        out = tmp_path / f"with-{name}"
        out.mkdir()
        (out / name).write_text("mine")
        for arguments in (["report", tmp_path / "runs"], ["compare", tmp_path / "runs", tmp_path / "runs"]):
            assert here(*arguments, "--out", out).returncode == 2
        assert (out / name).read_text() == "mine"
    assert here("compare", tmp_path / "runs", tmp_path / "runs", "--out", tmp_path / "p").returncode == 0
    render.check(tmp_path / "p")  # its own page is no hindrance


def test_cells_are_taken_only_from_folders_that_are_named(tmp_path: Path) -> None:
    theirs = run_folder(tmp_path / "theirs")
    secret = tmp_path / "secret"
    secret.write_text("x")
    (theirs / "leak").symlink_to(secret)
    assert scheduler.finished_in([tmp_path / "mine"]) == {}
    assert list(scheduler.finished_in([tmp_path / "mine", tmp_path / "theirs"]).values()) == [runs.Run(theirs)]
    scheduler._copy(runs.Run(theirs), tmp_path / "mine" / "new", {"case": "x"})
    assert runs.Run(tmp_path / "mine" / "new").row["copied_from"] == str(theirs)
    assert not (tmp_path / "mine/new/leak").exists()


# ---------------------------------------------------------------------- what we start


def test_children_take_no_module_from_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "queue.py").write_text("open('pwned', 'w')")
    for path in ("", ".", f"{os.pathsep}."):
        monkeypatch.setenv("PYTHONPATH", path)
        code = "import queue, subprocess, sys; subprocess.run([sys.executable, '-c', 'import queue'], check=True)"
        subprocess.run(children.python("-c", code), cwd=tmp_path, env=children.environment(), check=True)
    assert not (tmp_path / "pwned").exists()


def test_pickles_of_jobs_lie_where_only_their_owner_comes(tmp_path: Path) -> None:
    folder = clusters.private(tmp_path / "a" / "jobs")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    folder.chmod(0o777)
    (folder / "job.pkl").write_text("x")
    with pytest.raises(InputError, match="other users could write"):
        clusters.private(folder)
    (tmp_path / "link").symlink_to(folder)
    with pytest.raises(InputError, match="must belong to you"):
        clusters.private(tmp_path / "link")
