"""What `llmkit doctor` sees, says and returns."""

import http.server
import json
import re
import shutil
import sys
import threading
import time
from types import SimpleNamespace

import huggingface_hub.constants
import psutil
import pytest

from llmkit import doctor, pretrained
from llmkit.doctor import BAD, GOOD, NOTE, DoctorOptions, Finding


def test_a_tested_version_is_good():
    tested = doctor.pinned_versions()
    found = doctor.examine_package("pytest", {"pytest": pytest.__version__})
    assert found == Finding("pytest", pytest.__version__, GOOD)
    assert doctor.examine_package("torch", tested).mark == GOOD
    assert tested.keys() >= {*doctor.NEEDED, *doctor.HANDY}


def test_another_version_is_worth_knowing():
    found = doctor.examine_package("pytest", {"pytest": "0.1"})
    assert found.mark == NOTE
    assert found.advice.startswith("tested with 0.1; if a lesson breaks: pip install")


@pytest.mark.parametrize("needed, mark", [(True, BAD), (False, NOTE)])
def test_a_missing_package_says_how_to_install(monkeypatch, needed, mark):
    monkeypatch.setattr(doctor, "NEEDED", ["no-such-package"] if needed else [])
    found = doctor.examine_package("no-such-package", {})
    assert (found.value, found.mark, found.advice) == ("missing", mark, doctor.INSTALL)


def test_a_build_of_the_tested_version_counts_as_tested(monkeypatch):
    monkeypatch.setattr(doctor.metadata, "version", lambda name: "2.13.0+cu130")
    assert doctor.examine_package("torch", {"torch": "2.13.0"}).mark == GOOD


@pytest.mark.parametrize("free, mark", [(0.5, BAD), (2, NOTE), (8, GOOD)])
def test_memory_and_disk_have_thresholds(monkeypatch, free, mark):
    memory = SimpleNamespace(available=free * 1e9, total=16e9)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    found = doctor.examine_memory()
    assert found.mark == mark
    assert found.value == f"{free:.1f} GB free of 16.0"
    disk = SimpleNamespace(free=free * 0.5e9)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: disk)
    assert doctor.examine_disk().mark == mark
    assert mark == GOOD or "needs 0.5 GB" in doctor.examine_disk().advice


def test_one_core_is_worth_knowing(monkeypatch):
    monkeypatch.setattr(doctor.os, "sched_getaffinity", lambda pid: {0}, raising=False)
    assert doctor.examine_cores().mark == NOTE
    monkeypatch.setattr(doctor.os, "sched_getaffinity", lambda pid: {0, 3})
    assert doctor.examine_cores() == Finding("cores", "2")


def test_device_and_precision_are_named():
    assert re.match(r"(cpu|cuda|mps): .+", doctor.examine_device().value)
    value = doctor.examine_precision(rounds=3).value
    better, ratio = re.match(r"(.*) \(bf16 runs (\d+\.\d) × as", value).groups()
    assert ("bf16" in better) == (float(ratio) > 1.2) or ratio == "1.2"


class Answer(http.server.BaseHTTPRequestHandler):
    status, delay = 200, 0.0

    def do_HEAD(self):
        time.sleep(self.delay)
        self.send_response(self.status)
        self.end_headers()

    def log_message(self, *message):
        pass


@pytest.fixture
def hub(monkeypatch):
    """A hub on this machine that answers as a test wants; Answer is its manner."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", address)
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        yield server
        server.shutdown()


@pytest.mark.parametrize("status", [200, 403])
def test_any_answer_of_the_hub_counts(hub, monkeypatch, status):
    monkeypatch.setattr(Answer, "status", status)
    assert doctor.examine_hub() == Finding("hub", "reachable")


def test_a_slow_hub_is_not_waited_for(hub, monkeypatch):
    monkeypatch.setattr(Answer, "delay", 1.5)
    start = time.perf_counter()
    found = doctor.examine_hub(timeout=0.2)
    assert time.perf_counter() - start < 1
    assert (found.value, found.mark) == ("not reachable", NOTE)
    assert "stories, python-docs and your files need no network" in found.advice


def test_a_silent_hub_and_a_hub_switched_off(monkeypatch):
    constants = huggingface_hub.constants
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    assert doctor.examine_hub().value == "not reachable"
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert doctor.examine_hub().value == "switched off by HF_HUB_OFFLINE"


def test_offline_bert_is_checked_by_its_digest(monkeypatch, tmp_path):
    spec = SimpleNamespace(origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr(pretrained.importlib.util, "find_spec", lambda name: spec)
    assert doctor.examine_minilm().value == "checksum: no weights"
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.safetensors").write_bytes(b"other weights")
    found = doctor.examine_minilm()
    assert found.mark == BAD and "--force-reinstall" in found.advice
    monkeypatch.setattr(pretrained.importlib.util, "find_spec", lambda name: None)
    assert doctor.examine_minilm().mark == NOTE


def test_offline_bert_here_is_the_published_one():
    assert doctor.examine_minilm().value == "MiniLM, checksum as published"


def test_a_kernel_of_another_python_is_worth_knowing(monkeypatch, tmp_path):
    assert doctor.examine_kernel().mark == GOOD
    kernel = tmp_path / "kernels" / "python3"
    kernel.mkdir(parents=True)
    other = str(tmp_path / "bin" / "python")
    spec = {"argv": [other, "-m", "ipykernel_launcher"], "display_name": "x"}
    (kernel / "kernel.json").write_text(json.dumps(spec))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    found = doctor.examine_kernel()
    assert (found.mark, found.value) == (NOTE, f"python3 runs {other}")


def broken():
    raise OSError("libtorch.so is damaged\nand so on")


def test_an_examination_that_breaks_is_a_finding(monkeypatch):
    for look in ("precision", "hub"):
        monkeypatch.setattr(doctor, f"examine_{look}", lambda: Finding("x", "y"))
    broken.__name__ = "examine_device"
    monkeypatch.setattr(doctor, "examine_device", broken)
    monkeypatch.setitem(sys.modules, "psutil", None)  # as if not installed
    found = {finding.name: finding for finding in doctor.examine()}
    assert found["memory"].mark == BAD
    assert found["memory"].advice == doctor.INSTALL
    assert found["device"].value == "unknown: libtorch.so is damaged"


@pytest.fixture
def findings(monkeypatch):
    """Findings to print, without looking at this machine."""
    found = [Finding("cores", "2"), Finding("hub", "off", NOTE, "no matter")]
    monkeypatch.setattr(doctor, "examine", lambda: found)
    return found


def test_the_table_needs_no_colour(findings, capsys):
    assert doctor.run(DoctorOptions()) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == [GOOD, "cores", "2"]
    assert lines[2].split() == [NOTE, "hub", "off", "no", "matter"]
    assert lines[-1] == "✓ Every lesson can run here (! = worth knowing)."


def test_a_stopped_lesson_gives_exit_code_one(findings, capsys):
    findings.append(Finding("torch", "missing", BAD, doctor.INSTALL))
    assert doctor.run(DoctorOptions()) == 1
    said = capsys.readouterr().out
    assert "✗ 1 to mend before every lesson can run." in said
    assert doctor.INSTALL in " ".join(said.split())


def test_json_is_for_programs(findings, capsys):
    assert doctor.run(DoctorOptions(json=True)) == 0
    first = json.loads(capsys.readouterr().out)[0]
    assert first == {"name": "cores", "value": "2", "mark": GOOD, "advice": ""}


@pytest.mark.parametrize("encoding, good", [("utf-8", GOOD), ("cp1252", "ok")])
def test_marks_suit_the_console(encoding, good):
    marks = doctor._marks(encoding)
    assert marks[0] == good
    assert len(set(marks)) == 3
