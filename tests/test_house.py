"""Keep the house in order: who may import whom, how long things get, what is banned."""

import ast
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "llmkit"
MODULES = sorted(PACKAGE.rglob("*.py"))
LEVEL_0 = {"positions", "tokenizer", "stories", "corpus", "batches", "metrics"}
LEVEL_0 |= {"figures", "explorer", "pairs", "pretrained", "idfile"}
LEVEL_1 = {"attention", "training"}
LEVEL_2 = {"transformer", "finetuning"}

# Room by room, what it may import: arrows point only downward.
MAY_IMPORT: dict[str, set[str]] = {room: set() for room in LEVEL_0} | {
    "corpus": {"stories"},
    "batches": {"metrics"},
    "attention": {"positions"},
    "training": {"metrics"},
    "transformer": {"attention", "positions", "pretrained"},
    "finetuning": {"training", "batches", "metrics", "corpus", "pretrained"},
    "generation": {"attention"},
    "planning": {"transformer", "training", "metrics", "pretrained"},
    "pretraining": {"corpus", "tokenizer", "batches", "metrics", "training"}
    | {"transformer", "planning", "generation"},
    "exercises": LEVEL_0 | LEVEL_1 | LEVEL_2,
    "doctor": {"pretrained"},
    "course": set(),
}
# The command line shows the learner's progress too, but draws nothing.
MAY_IMPORT["cli"] = set(MAY_IMPORT) - {"figures", "explorer"}
MAY_IMPORT["__main__"] = {"cli"}
MAY_IMPORT["__init__"] = set()

# Who may use a heavy package, and whether its import must wait until it is needed.
OWNERS = {
    "accelerate": {"training"},
    "transformers": {"tokenizer", "transformer", "finetuning", "planning"},
    "sklearn": {"finetuning"},
    "matplotlib": {"figures"},
    "ipywidgets": {"figures", "exercises"},
}
LAZY = {"transformers", "ipywidgets", "datasets", "pandas", "pyarrow", "papermill"}
LAZY |= {"sklearn", "jupytext", "nbformat", "IPython", "ftfy", "datasketch"}
HEAVY = ("torch", "transformers", "datasets", "accelerate", "matplotlib", "pandas")
HEAVY += ("numpy", "rich", "IPython", "papermill")
LIGHT_ROOMS = ("stories", "corpus", "tokenizer", "cli", "doctor", "course")
LIGHT_ROOMS += ("pairs", "pretrained", "idfile", "planning")
LONGER = {"fit": 70}  # functions that may pass 40 lines


def room(path: Path) -> str:
    """Return the room a file belongs to: llmkit/training/loop.py is in training."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def name(path: Path) -> str:
    return str(path.relative_to(PACKAGE.parent))


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(node: ast.AST) -> list[str]:
    """List the full names that the import statements under a node ask for."""
    found = []
    for child in ast.walk(node):
        if isinstance(child, ast.Import):
            found += [alias.name for alias in child.names]
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0, f"line {child.lineno}: a relative import"
            inside = child.module == "llmkit"
            names = [alias.name for alias in child.names]
            found += [f"llmkit.{x}" for x in names] if inside else [child.module]
    return found


def at_import(module: ast.Module) -> list[str]:
    """List what importing a module imports: not inside its functions, nor for types."""
    types = [x for x in module.body if isinstance(x, ast.If)]
    types = [x for x in types if ast.unparse(x.test) == "TYPE_CHECKING"]
    body = [x for x in module.body if not is_definition(x) and x not in types]
    return imports(ast.Module(body, []))


def is_definition(node: ast.AST) -> bool:
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)


def functions(module: ast.Module) -> list[ast.FunctionDef]:
    kinds = ast.FunctionDef | ast.AsyncFunctionDef
    return [node for node in ast.walk(module) if isinstance(node, kinds)]


def lines_of(function: ast.FunctionDef) -> int:
    """Count a function's lines without its docstring."""
    body = function.body
    documented = ast.get_docstring(function) is not None
    words = body[0].end_lineno - body[0].lineno + 1 if documented else 0
    return function.end_lineno - function.lineno + 1 - words


every_module = pytest.mark.parametrize("path", MODULES, ids=name)


@every_module
def test_arrows_point_downward(path):
    assert room(path) in MAY_IMPORT, f"{room(path)} is no room of this house: place it"
    ours = {x.split(".")[1] for x in imports(tree(path)) if x.startswith("llmkit.")}
    wrong = ours - MAY_IMPORT[room(path)] - {room(path), "__version__"}
    assert not wrong, f"{room(path)} may not import {', '.join(sorted(wrong))}"


def test_the_arrows_have_no_circle():
    rest = dict(MAY_IMPORT)
    while rest:
        free = {x for x, below in rest.items() if not below & rest.keys()}
        assert free, f"these rooms import each other: {', '.join(rest)}"
        rest = {x: below for x, below in rest.items() if x not in free}


@every_module
def test_heavy_packages_stay_with_their_owners(path):
    used = {x.split(".")[0] for x in imports(tree(path))}
    for package, owners in OWNERS.items():
        assert package not in used or room(path) in owners, (
            f"only {', '.join(sorted(owners))} may import {package}"
        )
    early = {x.split(".")[0] for x in at_import(tree(path))} & LAZY
    assert not early, f"import {', '.join(early)} inside the function that needs it"


@every_module
def test_lengths(path):
    module, text = tree(path), path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 300, "is it two rooms?"
    for function in functions(module):
        most = LONGER.get(function.name, 40)
        assert lines_of(function) <= most, (
            f"{function.name}: {lines_of(function)} lines"
        )


@every_module
def test_nothing_banned(path):
    module = tree(path)
    calls = [ast.unparse(x.func) for x in ast.walk(module) if isinstance(x, ast.Call)]
    models = {"positions", "attention", "transformer", "metrics", "batches"}
    if room(path) in models:
        assert "print" not in calls, "models never print"
    assert not {"eval", "exec", "torch.load"} & set(calls)
    assert not {"pickle", "dill", "cloudpickle"} & set(imports(module))
    for node in ast.walk(module):
        assert not isinstance(node, ast.Assert), f"line {node.lineno}: raise ValueError"
        assert not isinstance(node, ast.Global), f"line {node.lineno}: a global"
        if isinstance(node, ast.keyword) and node.arg == "trust_remote_code":
            assert ast.unparse(node.value) == "False", "never run a hub's code"
        if isinstance(node, ast.ImportFrom):
            assert node.names[0].name != "*", f"line {node.lineno}: a star import"


@every_module
def test_every_public_thing_says_what_it_does(path):
    module = tree(path)
    assert ast.get_docstring(module), "the module has no docstring"
    public = [x for x in module.body if is_definition(x) and x.name[0] != "_"]
    for thing in public:
        words = ast.get_docstring(thing)
        assert words, f"{thing.name} has no docstring"
        # what a classic mistake says to the learner may take more than one line
        in_lesson = path.parent.name.startswith("lesson_")
        first = words.split("\n\n")[0] if in_lesson else words.splitlines()[0]
        assert first.endswith((".", "?")), f"{thing.name}: {first!r} is no sentence"


@pytest.mark.process
@pytest.mark.parametrize("command", [["check"], ["format", "--check"]])
def test_ruff_has_nothing_to_say(command):
    ruff = [sys.executable, "-m", "ruff", *command, "."]
    done = subprocess.run(ruff, capture_output=True, text=True, cwd=PACKAGE.parent)
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_drawers_for_odds_and_ends():
    assert not [x for x in MODULES if x.stem in ("utils", "helpers", "common", "misc")]


def run_python(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=PACKAGE.parent
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.process
def test_importing_llmkit_is_fast_and_brings_nothing_heavy():
    code = (
        "import sys, time; start = time.perf_counter(); import llmkit;"
        "print(time.perf_counter() - start, *sys.modules)"
    )
    runs = [run_python(code).split() for _ in range(5)]
    assert statistics.median(float(seconds) for seconds, *_ in runs) < 0.1
    assert not {x.split(".")[0] for x in runs[0][1:]} & set(HEAVY)


@pytest.mark.process
@pytest.mark.parametrize("light", LIGHT_ROOMS)
def test_light_rooms_import_without_torch(light):
    loaded = run_python(f"import sys, llmkit.{light}; print(*sys.modules)").split()
    assert not {x.split(".")[0] for x in loaded} & {"torch", "transformers", "datasets"}
