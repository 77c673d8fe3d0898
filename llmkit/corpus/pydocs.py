"""Gather the English prose that comes inside every Python, with no network.

There are two megabytes of it: the help topics of `pydoc`, and the docstrings of the
standard library, from its Python sources and from its modules written in C.
"""

import ast
import gc
import importlib
import inspect
import random
import sysconfig
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from types import ModuleType

from llmkit.corpus.files import walk

_SKIPPED = {"idlelib", "lib2to3", "site-packages", "dist-packages", "test", "tests"}
_WRITTEN_IN_C = (
    "array builtins cmath codecs collections datetime decimal functools gc io "
    "itertools marshal math operator os pickle signal socket sys threading time "
    "unicodedata zlib"
)


def python_docs(seed: int = 0) -> list[str]:
    """Return help topics and docstrings, each once, in an order shuffled by `seed`.

    Shuffled, so that the last tenth of the text is of the same kind as the rest.

    Raises ValueError where Python comes without its help topics.
    """
    try:
        from pydoc_data.topics import topics
    except ImportError as error:
        raise ValueError(
            "python-docs: this Python lacks its help topics (pydoc_data): install the "
            "full standard library, or use the corpus 'stories'"
        ) from error
    texts = [topics[name] for name in sorted(topics)]
    with warnings.catch_warnings(), _no_collection():
        warnings.simplefilter("ignore")  # old modules, old ways to write a backslash
        for path in walk(Path(sysconfig.get_path("stdlib")), (".py",), _SKIPPED):
            texts += docstrings(path.read_bytes())
    for name in _WRITTEN_IN_C.split():
        texts += compiled_docstrings(importlib.import_module(name))
    unique = list({" ".join(text.split()): text for text in texts}.values())
    random.Random(seed).shuffle(unique)
    return unique


@contextmanager
def _no_collection() -> Iterator[None]:
    """Pause the search for circles among objects: syntax trees have a million nodes.

    Where torch is loaded, the search takes as long as all the rest.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def docstrings(source: bytes) -> Iterator[str]:
    r"""Yield the docstrings in a module's source, without importing the module.

    Importing is not safe: `import antigravity` opens a browser.

    >>> list(docstrings(b"def f():\n    'Do.'\nclass C:\n    '''Be.'''"))
    ['Be.', 'Do.']
    """
    if b'"""' not in source and b"'''" not in source:
        return  # parsing is what takes the time
    documented = ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef
    nodes: list[ast.AST] = [ast.parse(source)]
    while nodes:
        node = nodes.pop()
        if isinstance(node, documented) and (text := ast.get_docstring(node)):
            yield text
        for block in ("body", "orelse", "handlers", "finalbody"):
            nodes += getattr(node, block, [])


def compiled_docstrings(module: ModuleType) -> Iterator[str]:
    """Yield the docstrings of what a module, or a class in it, has compiled.

    >>> import math
    >>> "Return the sine of x (measured in radians)." in compiled_docstrings(math)
    True
    """
    kinds = inspect.isbuiltin, inspect.ismethoddescriptor, inspect.isdatadescriptor
    # Shells put things of their own into builtins: the last result, another input.
    names = sorted(vars(module).keys() - {"_", "input"})
    own = [vars(module)[name] for name in names]
    members = [vars(each).values() for each in own if inspect.isclass(each)]
    for member in chain(own, *members):
        compiled = inspect.isclass(member) or any(kind(member) for kind in kinds)
        if compiled and isinstance(member.__doc__, str):
            yield inspect.cleandoc(member.__doc__)
