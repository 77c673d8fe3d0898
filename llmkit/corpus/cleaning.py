r"""Clean documents by small steps with names, and tell what each of them caught.

A repair takes a text and returns it mended: `str -> str`. A judgement takes a text and
returns the reason to throw it away, or None: `str -> str | None`. Every step is a
function of its own, and its limits are arguments: `partial(too_short, least=200)`.

Source: Rae et al. 2021, "Scaling Language Models: Methods, Analysis & Insights from
Training Gopher", appendix A.1; Raffel et al. 2020 (C4), section 2.2; Lesson 04.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

from llmkit.corpus.judgements import (
    repeats_lines,
    repeats_words,
    too_few_letters,
    too_long,
    too_short,
)
from llmkit.corpus.repairs import (
    compose,
    drop_controls,
    drop_furniture,
    mend_encoding,
    tidy_spaces,
)
from llmkit.corpus.report import Report, several

Repair = Callable[[str], str]
Judgement = Callable[[str], str | None]

# In this order: what is mended early lets later steps see the text as it is meant.
REPAIRS: tuple[Repair, ...] = (
    mend_encoding,
    drop_controls,
    compose,
    drop_furniture,
    tidy_spaces,
)
JUDGEMENTS: tuple[Judgement, ...] = (
    too_short,
    too_long,
    too_few_letters,
    repeats_lines,
    repeats_words,
)


def clean(
    documents: Iterable[str],
    repairs: Sequence[Repair] = REPAIRS,
    judgements: Sequence[Judgement] = JUDGEMENTS,
) -> tuple[list[str], Report]:
    r"""Return the documents worth reading, mended, and a report of what was done.

    Repairs come first, each on the text that the one before left; then a document is
    judged, and the first reason to remove it counts. A document of which a repair
    leaves nothing is removed too.

    Raises ValueError if nothing is left, and says which step took how much; and for
    one text in place of documents.

    >>> texts = ["A dog  \nbarked at the cat.", "Hi!", "=" * 30]
    >>> kept, report = clean(texts)
    >>> kept
    ['A dog\nbarked at the cat.']
    >>> print(report.examples())
    tidy_spaces:
      'A dog  \nbarked at the cat.' → 'A dog\nbarked at the cat.'
    too_short:
      'Hi!' → '3 characters, fewer than 20'
    too_few_letters:
      '==============================' → '0.0% letters, less than 50%'
    """
    report = Report()
    return list(cleaned(documents, repairs, judgements, report)), report


def cleaned(
    documents: Iterable[str],
    repairs: Sequence[Repair] = REPAIRS,
    judgements: Sequence[Judgement] = JUDGEMENTS,
    report: Report | None = None,
) -> Iterator[str]:
    """Yield what `clean` returns, one document after the other, holding none.

    So it can clean more text than memory holds. The report, if given, is filled on the
    way: it is whole when the last document has been taken.

    Raises ValueError, at the end, if nothing was left.

    >>> report = Report()
    >>> next(cleaned(iter(["Hi!", "A dog barked at the cat."]), report=report))
    'A dog barked at the cat.'
    >>> report.steps["too_short"].removed
    1
    """
    report = Report() if report is None else report
    for step in (*repairs, *judgements):
        report.step(_name(step))  # a step that finds nothing is reported too
    for text in several(documents):
        report.arrive(text)
        if not text.strip():
            report.step("blank").remove(text, "there was nothing but space")
            continue
        mended = _mended(text, repairs, report)
        if mended is not None and _passes(mended, judgements, report):
            yield mended
    if not report.documents_left:
        raise ValueError(_nothing_left(report))


def _mended(text: str, repairs: Sequence[Repair], report: Report) -> str | None:
    """Return the text after all repairs, or None where one left nothing."""
    for repair in repairs:
        before, text = text, repair(text)
        if before.strip() and not text.strip():
            report.step(_name(repair)).remove(before, "nothing is left")
            return None
        if text != before:
            report.step(_name(repair)).change(before, text)
    return text


def _passes(text: str, judgements: Sequence[Judgement], report: Report) -> bool:
    for judge in judgements:
        if reason := judge(text):
            report.step(_name(judge)).remove(text, reason)
            return False
    return True


def _name(step: Callable) -> str:
    """Return the name of a step: of the function in it, if it is a partial one."""
    while isinstance(step, partial):
        step = step.func
    return getattr(step, "__name__", type(step).__name__)


def _nothing_left(report: Report) -> str:
    if not report.documents:
        return "there are no documents to clean: give some text"
    return (
        f"cleaning left nothing of {report.documents:,} documents: {report.biggest()}: "
        "leave a step out, or give it other limits, as in partial(too_short, least=5)"
    )
