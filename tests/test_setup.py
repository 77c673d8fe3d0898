"""The set-up: one place of versions, clear words for what is missing, done once."""

import ast
import importlib.metadata
import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
import tomllib
import urllib.error
import urllib.request
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from conftest import need
from helpers import EXTRAS as HERE
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
SCRIPT = ROOT / ".ci" / "setup_env.py"
SETUP_FILES = ["pyproject.toml", "constraints.txt", "environment.yml", "Makefile"]
SETUP_FILES += [".ci/run", ".ci/setup_env.py", ".github/workflows/course.yml"]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = dict(PROJECT["optional-dependencies"])
APART = [x for name in ("tensorboard", "wandb", "deepspeed") for x in EXTRAS.pop(name)]
APART_FROM = "# tensorboard, wandb and deepspeed, and what they bring"


def pins(apart: bool = False) -> dict[str, str]:
    """Read the versions: of what a set-up installs, or of what it does not."""
    both = (ROOT / "constraints.txt").read_text().partition(APART_FROM)
    lines = both[2 if apart else 0].splitlines()
    return dict(line.split("==") for line in lines if "==" in line)


def closure(requirements: list[str]) -> set[str]:
    """Return all packages that an install of these brings, by name."""
    found, todo = set(), [Requirement(text) for text in requirements]
    while todo:
        wanted = todo.pop()
        name = canonicalize_name(wanted.name)
        key = (name, *sorted(wanted.extras))
        if key in found:
            continue
        found.add(key)
        for text in importlib.metadata.requires(name) or []:
            needed = Requirement(text)
            extras = [{"extra": extra} for extra in ("", *wanted.extras)]
            if not needed.marker or any(map(needed.marker.evaluate, extras)):
                todo.append(needed)
    return {name for name, *_ in found}


def of_every_machine(versions: dict[str, str]) -> dict[str, str]:
    """Leave out CUDA's packages: torch itself pins those that it brings."""
    cuda = ("nvidia-", "cuda-", "triton")
    return {name: versions[name] for name in versions if not name.startswith(cuda)}


# Versions


def test_every_package_is_pinned_at_the_version_that_is_tested():
    direct = PROJECT["dependencies"] + [x for each in EXTRAS.values() for x in each]
    installed = {
        name: importlib.metadata.version(name).split("+")[0] for name in closure(direct)
    }
    assert of_every_machine(installed) == pins()


def test_what_is_apart_from_the_rest_is_pinned_at_the_version_that_is_tested():
    need(HERE.is_dir(), "what .ci/run installs apart", "see .ci/run")
    found = importlib.metadata.distributions(path=[str(HERE)])
    found = {canonicalize_name(x.name): (x.version, x.requires or []) for x in found}
    if "NO_DEEPSPEED" not in os.environ:
        assert {name: version for name, (version, _) in found.items()} == pins(True)
    needed = [Requirement(x) for _, texts in found.values() for x in texts]
    plain = [x for x in needed if not x.marker or x.marker.evaluate({"extra": ""})]
    names = {canonicalize_name(x.name) for x in plain}
    assert names <= pins().keys() | pins(True).keys()
    for text in APART:
        range_ = Requirement(text)
        assert range_.specifier.contains(pins(True)[range_.name])


def test_every_version_takes_the_first_python_that_we_promise():
    """Debian's Python 3.11 is not the last one."""
    asked = {x: importlib.metadata.metadata(x)["Requires-Python"] for x in pins()}
    ranges = {x: SpecifierSet(told) for x, told in asked.items() if told}
    assert [x for x, range_ in ranges.items() if not range_.contains("3.11.2")] == []


def test_the_versions_of_the_course():
    wanted = {"torch": "2.13.0", "transformers": "5.23.0", "datasets": "5.2.0"}
    wanted |= {"accelerate": "1.15.0", "papermill": "2.7.0", "jupyterlab": "4.6."}
    wanted |= {"ipywidgets": "8.1.", "matplotlib": "3.11."}
    pinned = pins()
    assert [name for name in wanted if not pinned[name].startswith(wanted[name])] == []


def test_ranges_admit_colab_and_the_tested_versions():
    colab = {"transformers": "5.0.0", "datasets": "4.0.0", "accelerate": "1.14.0"}
    colab |= {"ipywidgets": "7.7.1", "torch": "2.6.0", "ipykernel": "6.17.1"}
    pinned = pins()
    for text in PROJECT["dependencies"] + [x for each in EXTRAS.values() for x in each]:
        range_ = Requirement(text)
        assert range_.specifier.contains(pinned[canonicalize_name(range_.name)])
        if range_.name in colab:
            assert range_.specifier.contains(colab.pop(range_.name)), text
    assert not colab


@pytest.mark.parametrize("name", SETUP_FILES)
def test_no_file_names_a_registry_or_a_path_of_a_machine(name):
    text = (ROOT / name).read_text()
    assert not re.search(r"index-url|find-links|https?:|(?<![\w.])/(root|home)/", text)


@pytest.mark.slow
@pytest.mark.process
def test_conda_gets_the_same_versions(tmp_path):
    """Do with the pip section what conda does: a file beside it, pip run there."""
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    python, _, section = environment["dependencies"]
    assert python == "python=3.11"
    clone = copy_clone(tmp_path / "a clone")
    (clone / "condaenv.requirements.txt").write_text("\n".join(section["pip"]))
    command = (
        "-m pip install -U -q --dry-run --ignore-installed --report report.json -r"
    )
    done = subprocess.run(
        [sys.executable, *command.split(), "condaenv.requirements.txt"],
        cwd=clone,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    report = yaml.safe_load((clone / "report.json").read_text())
    chosen = {
        canonicalize_name(x["metadata"]["name"]): x["metadata"]["version"].split("+")[0]
        for x in report["install"]
    }
    assert chosen.pop("llmkit") == PROJECT["version"]
    assert of_every_machine(chosen) == pins()


@pytest.mark.slow
@pytest.mark.process
def test_the_wheel_brings_the_data_and_the_versions(tmp_path):
    clone = copy_clone(tmp_path / "a clone")
    build = ["-m", "pip", "wheel", "-q", "--no-deps", "-w"]
    subprocess.run([sys.executable, *build, tmp_path, clone], check=True)
    names = zipfile.ZipFile(*tmp_path.glob("*.whl")).namelist()
    data = {f"llmkit/data/{path.name}" for path in (ROOT / "data").iterdir()}
    static = (ROOT / "llmkit" / "explorer" / "static").iterdir()
    data |= {f"llmkit/explorer/static/{path.name}" for path in static}
    launch = (ROOT / "llmkit" / "launch").iterdir()
    data |= {f"llmkit/launch/{path.name}" for path in launch}
    assert data | {"llmkit/constraints.txt", "llmkit/cli/__init__.py"} <= set(names)
    assert not [x for x in names if x.startswith(("tests", "notebooks"))]


# What is missing is said


@pytest.fixture
def setup_env(monkeypatch, tmp_path):
    """Load .ci/setup_env.py, and work in an empty folder with a space."""
    spec = importlib.util.spec_from_file_location("setup_env", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    clone = tmp_path / "a clone"
    clone.mkdir()
    for name in module.INPUTS:
        shutil.copy(ROOT / name, clone)
    monkeypatch.chdir(clone)
    return module


def test_an_old_python_is_told_to_take_a_newer_one(setup_env, monkeypatch):
    assert setup_env.missing_python() is None
    monkeypatch.setattr(setup_env.sys, "version_info", (3, 10, 13))
    monkeypatch.setattr(setup_env, "on_path", lambda name: name == "python3.12")
    assert setup_env.missing_python() == (
        "this is Python 3.10.13 and 3.11 or newer is needed; "
        "you have one, so: make setup PYTHON=python3.12"
    )
    monkeypatch.setattr(setup_env, "on_path", lambda name: False)
    assert "install one, then: make setup PYTHON=" in setup_env.missing_python()


def test_an_old_python_can_read_the_script():
    tree = ast.parse(SCRIPT.read_text(), feature_version=(3, 6))
    new = (ast.JoinedStr, ast.NamedExpr, ast.AnnAssign)
    assert not [node for node in ast.walk(tree) if isinstance(node, new)]


@pytest.mark.parametrize("name", ["venv", "ensurepip"])
def test_a_missing_venv_module_is_named(setup_env, monkeypatch, name):
    assert setup_env.missing_venv() is None
    find = importlib.util.find_spec
    without = lambda wanted: None if wanted == name else find(wanted)  # noqa: E731
    monkeypatch.setattr(importlib.util, "find_spec", without)
    package = f"python{sys.version_info[0]}.{sys.version_info[1]}-venv"
    assert f"apt install {package})" in setup_env.missing_venv()


def test_a_full_disk_is_told_in_figures(setup_env, monkeypatch):
    disk = SimpleNamespace(free=1.26e9)
    monkeypatch.setattr(setup_env.shutil, "disk_usage", lambda folder: disk)
    said = setup_env.missing_disk()
    assert "need about 4 GB of disk (10 with CUDA's) and 1.3 GB are free" in said
    disk.free = 5e9
    assert setup_env.missing_disk() is None


@pytest.mark.parametrize("missing", ["missing_python", "missing_venv", "missing_disk"])
def test_what_is_missing_ends_the_set_up_with_one_line(setup_env, monkeypatch, missing):
    monkeypatch.setattr(setup_env.os, "chdir", lambda folder: None)
    monkeypatch.setattr(setup_env, missing, lambda: "something is not here")
    with pytest.raises(SystemExit) as end:
        setup_env.main()
    assert end.value.code == "llmkit: error: something is not here"


def test_make_says_when_there_is_no_python(tmp_path):
    clone = copy_clone(tmp_path / "a clone")
    done = make(clone, "setup", "PYTHON=no-such-python")
    assert done.returncode != 0
    assert done.stderr.splitlines()[0] == (
        "llmkit: error: there is no no-such-python here: install Python 3.11 or newer, "
        "or name one: make setup PYTHON=python3.12"
    )


# Once, or not at all


@pytest.fixture
def pip(setup_env, monkeypatch):
    """Stand in for venv and pip: count what is called, fail when told."""
    calls = SimpleNamespace(made=[], fail=False)

    def check_call(command, **more):
        calls.made.append(command)
        os.makedirs(".venv", exist_ok=True)
        if calls.fail and "pip" in command:
            raise subprocess.CalledProcessError(1, command)

    monkeypatch.setattr(setup_env.os, "chdir", lambda folder: None)
    monkeypatch.setattr(setup_env.subprocess, "check_call", check_call)
    monkeypatch.setattr(setup_env, "on_path", lambda name: os.path.isdir(".venv"))
    return calls


def test_a_second_call_does_nothing(setup_env, pip):
    setup_env.main()
    venv, install = pip.made
    assert venv[1:3] == ["-m", "venv"]
    assert install[-4:-2] == ["--constraint", "constraints.txt"]
    assert install[-2:] == ["--editable", ".[course,offline,test]"]
    setup_env.main()
    assert len(pip.made) == 2


def test_a_clone_that_was_moved_is_set_up_afresh(setup_env, pip, monkeypatch):
    setup_env.main()
    (Path.cwd().parent / "elsewhere").mkdir()
    new = Path.cwd().rename(Path.cwd().parent / "elsewhere" / "a clone")
    monkeypatch.chdir(new)
    setup_env.main()
    assert [call[2] for call in pip.made] == ["venv", "pip", "venv", "pip"]
    assert "--clear" in pip.made[2]


@pytest.mark.parametrize("name", ["constraints.txt", "pyproject.toml"])
def test_new_versions_are_installed(setup_env, pip, name):
    setup_env.main()
    with open(name, "a") as file:
        file.write("# changed\n")
    setup_env.main()
    assert [call[2] for call in pip.made] == ["venv", "pip", "pip"]


def test_a_failed_install_is_not_taken_for_done(setup_env, pip):
    setup_env.main()
    Path("constraints.txt").write_text("torch==0\n")
    pip.fail = True
    for _ in range(2):  # the second call tries again
        with pytest.raises(SystemExit, match="nothing is marked as ready, so simply"):
            setup_env.main()
        assert not os.path.exists(setup_env.STAMP)
    pip.fail = False
    setup_env.main()
    assert setup_env.is_ready()


@pytest.mark.slow
@pytest.mark.process
def test_set_up_for_real_in_a_path_with_spaces(tmp_path):
    """Make a real environment, of a llmkit that needs nothing, and use it twice."""
    clone = copy_clone(tmp_path / "a clone")
    text = (clone / "pyproject.toml").read_text()
    text = re.sub(
        r"(?ms)^(dependencies|course|offline|test) = \[.*?^\]$", r"\1 = []", text
    )
    text = re.sub(r"(?m)^offline = .*$", "offline = []", text)
    (clone / "pyproject.toml").write_text(text)
    first, second = make(clone, "setup"), make(clone, "setup")
    assert first.returncode == 0, first.stderr
    assert first.stdout.endswith("Ready.\n")
    assert (second.returncode, second.stdout, second.stderr) == (0, "", "")
    where = "import llmkit; print(llmkit.__file__)"
    python = [clone / ".venv" / "bin" / "python", "-c", where]
    done = subprocess.run(python, cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.strip() == str(clone / "llmkit" / "__init__.py")


# The commands


def test_help_lists_every_target():
    done = make(ROOT, "help")
    targets = {"setup", "lab", "course", "test", "notebooks", "bench", "lint", "help"}
    shown = {line.split()[0] for line in done.stdout.splitlines()[:9]}
    assert shown == targets | {"clean"}
    assert make(ROOT).stdout == done.stdout


def test_targets_pass_on_what_they_are_given():
    said = make(ROOT, "-n", "lab", "LAB_ARGS=--no-browser").stdout
    assert "/lab/tree/notebooks/00_start_here.ipynb --no-browser" in said
    said = make(ROOT, "-n", "course", "PROFILE=smoke", "ARGS=--only 01").stdout
    assert '-m llmkit course --profile "smoke" --only 01' in said
    assert '--profile "cpu"' in make(ROOT, "-n", "course").stdout
    assert "-m pytest -x" in make(ROOT, "-n", "test", "PYTEST_ARGS=-x").stdout


@pytest.mark.slow
@pytest.mark.process
def test_lab_opens_on_the_first_lesson_and_keeps_its_token(tmp_path):
    said = make(ROOT, "-n", "lab", "LAB_ARGS=--no-browser --allow-root --port=0").stdout
    command = shlex.split(said.splitlines()[-1])
    log = tmp_path / "log"
    with log.open("w") as file:
        lab = subprocess.Popen(
            [sys.executable, *command[1:]], cwd=ROOT, stdout=file, stderr=file
        )
    try:
        url = wait_for(r"http://(127.0.0.1:\d+)(/lab/tree/\S+)\?(token=\w+)", log, lab)
        host, page, token = url.groups()
        assert page == "/lab/tree/notebooks/00_start_here.ipynb"
        assert fetch(f"http://{host}/api/contents/notebooks?{token}") == 200
        assert fetch(f"http://{host}/api/contents/notebooks") == 403
    finally:
        lab.terminate()
        lab.wait(timeout=30)


def wait_for(pattern: str, log: Path, process: subprocess.Popen) -> re.Match:
    """Wait until a process has written what is expected of it."""
    for _ in range(300):
        if found := re.search(pattern, log.read_text()):
            return found
        assert process.poll() is None, log.read_text()
        time.sleep(0.2)
    raise AssertionError(f"nothing like {pattern} in: {log.read_text()}")


def fetch(url: str) -> int:
    """Return the status of a page of this machine, past any proxy."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=20) as answer:
            return answer.status
    except urllib.error.HTTPError as refused:
        return refused.code


def test_ci_runs_the_readmes_test_command():
    script = (ROOT / ".ci" / "run").read_text()
    assert "set -euo pipefail" in script
    assert script.rstrip().splitlines()[-1] == "make test"
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
    subprocess.run(["bash", "-n", ROOT / ".ci" / "run"], check=True)
    told = {*re.findall(r"[a-z0-9-]+", " ".join(re.findall(r"extra (.*)", script)))}
    assert pins(True).keys() <= told  # what is apart is installed whole


def test_what_ci_installs_may_be_missing_elsewhere_only(monkeypatch):
    need(True, "Chromium", "apt install chromium")
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="Chromium is missing: apt install"):
        need(None, "Chromium", "apt install chromium")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="is missing: .* should have"):
        need(None, "Chromium", "apt install chromium")


def test_github_does_what_ci_does_and_keeps_the_notebooks():
    workflow = yaml.safe_load((ROOT / ".github/workflows/course.yml").read_text())
    steps = workflow["jobs"]["course"]["steps"]
    assert [x["run"] for x in steps if "run" in x] == [
        "bash .ci/run",
        "make course PROFILE=smoke",
    ]
    assert steps[-1]["uses"].startswith("actions/upload-artifact@")
    assert steps[-1]["with"]["path"] == "build/course"


def copy_clone(clone: Path) -> Path:
    """Copy what a set-up needs: no environment, no builds."""
    skip = shutil.ignore_patterns(".venv", ".git", "build", ".*_cache", "__pycache__")
    return Path(shutil.copytree(ROOT, clone, ignore=skip))


def make(clone: Path, *arguments: str) -> subprocess.CompletedProcess:
    """Run make in a clone, with the Python that runs the tests."""
    command = ["make", "--no-print-directory", f"PYTHON={sys.executable}", *arguments]
    environment = {x: os.environ[x] for x in os.environ if not x.startswith("MAKE")}
    environment.pop("MFLAGS", None)
    return subprocess.run(
        command, cwd=clone, capture_output=True, text=True, env=environment
    )
