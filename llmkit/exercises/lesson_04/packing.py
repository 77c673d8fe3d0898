"""Exercise 04.4: implement packing."""

from collections.abc import Sequence

import torch
from torch import Tensor

from llmkit.batches import document_numbers
from llmkit.exercises import Exercise, Twin, mistakes


def pack(
    documents: Sequence[Sequence[int]], length: int, end: int
) -> tuple[Tensor, Tensor]:
    """Lay documents one after the other into full rows, and number them in each row.

    documents: the ids of each. length: T, tokens a row. end: the token to put after
    each document. What does not fill a last row is dropped.

    Returns: ids (B, T), and for each token the number of its document, (B, T): from one
    end on, tokens belong to the document after it.
    Source: Krell et al. 2021; Lesson 04.

    >>> ids, number = pack([[5, 6], [7], [8, 9]], length=4, end=0)
    >>> ids.tolist(), number.tolist()
    ([[5, 6, 0, 7], [0, 8, 9, 0]], [[0, 0, 1, 1], [1, 1, 1, 2]])
    """
    line = [token for document in documents for token in (*document, end)]
    B = len(line) // length
    ids = torch.tensor(line[: B * length]).view(B, length)  # (B, T)
    return ids, document_numbers(ids, end)  # (B, T) each


def token_by_token(documents, length, end):
    """Pack with lists alone, one token at a time."""
    rows, numbers = [], []
    row, number, current = [], [], 0
    for document in documents:
        for token in [*document, end]:
            current += token == end
            row.append(token)
            number.append(current)
            if len(row) == length:
                rows, numbers = [*rows, row], [*numbers, number]
                row, number, current = [], [], 0
    return torch.tensor(rows), torch.tensor(numbers)  # (B, T) each


def packed(answer, documents, length, end):
    """Try an answer; of the numbers, what counts is which of a row are equal."""
    found = answer(documents, length, end)
    match found:
        case [Tensor() as ids, Tensor() as n]:  # (B, T) each
            return ids, n[..., :, None] == n[..., None, :]  # (B, T), (B, T, T)
    return found  # the lesson goes on with tensors: lists of lists won't do


def cases(seed: int) -> tuple:
    """Draw documents of 1 to 8 tokens, for at least two rows of 4 to 7, with a rest."""
    random = torch.Generator().manual_seed(seed)
    length = int(torch.randint(4, 8, (1,), generator=random))
    sizes = torch.randint(1, 9, (6,), generator=random).tolist()
    if (sum(sizes) + len(sizes)) % length == 0:
        sizes[-1] += 1
    end = [0, 50][seed % 2]
    return (
        [torch.randint(1, 50, (n,), generator=random).tolist() for n in sizes],
        length,
        end,
    )


# The classic mistakes. What a mistake says to the learner is its docstring.


def no_ends(documents, length, end):
    """It looks like no end token stands between the documents: the model could not know
    where one stops, and would never learn to stop itself.
    """
    line = [token for document in documents for token in document]
    ids = _rows(line, length)
    return ids, document_numbers(ids, end)


def ends_in_front(documents, length, end):
    """It looks like the end token stands before each document: put it after, so that
    the last token of a document has something to ask for.
    """
    line = [token for document in documents for token in (end, *document)]
    ids = _rows(line, length)
    return ids, document_numbers(ids, end)


def rest_filled_up(documents, length, end):
    """It looks like you fill up a last row: what is less than a row is dropped here, a
    handful of tokens in all. Padding is what we want to get rid of.
    """
    line = _line(documents, end)
    ids = _rows(line + [end] * (-len(line) % length), length)
    return ids, document_numbers(ids, end)


def a_row_each(documents, length, end):
    """It looks like each document gets a row of its own, filled up or cut off: that is
    padding, the usual way. Lay them one after the other, over the ends of the rows.
    """
    rows = [[*d, *[end] * length][:length] for d in documents]
    ids = torch.tensor(rows)
    return ids, document_numbers(ids, end)


def no_document_torn(documents, length, end):
    """It looks like a document that does not fit begins a new row: that is packing too,
    but it needs padding. Here a document simply goes on in the next row.
    """
    rows, row = [], []
    for document in documents:
        document = [*document, end][:length]
        if len(row) + len(document) > length:
            rows, row = [*rows, row], []
        row = row + document
    rows = [r + [end] * (length - len(r)) for r in (*rows, row)]
    ids = torch.tensor(rows)
    return ids, document_numbers(ids, end)


def end_with_the_old(documents, length, end):
    """It looks like the end token belongs to the document before it: but it is there
    that the first token of the *next* one is asked for, so it must know nothing of the
    old. A document's number changes at the end token, not after it.
    """
    ids = _rows(_line(documents, end), length)
    is_end = ids == end
    return ids, is_end.cumsum(dim=-1) - is_end.long()


def all_one(documents, length, end):
    """It looks like all tokens of a row have one number: then each document looks at
    its neighbours, which have nothing to do with it. Count the ends before a token.
    """
    ids = _rows(_line(documents, end), length)
    return ids, torch.zeros_like(ids)


def one_token_shared(documents, length, end):
    """It looks like each row begins with the last token of the row before: here each
    token stands in one row, so that rows begin T tokens apart.
    """
    line = torch.tensor(_line(documents, end))
    ids = line.unfold(0, length, length - 1)
    return ids, document_numbers(ids, end)


def _line(documents, end):
    return [token for document in documents for token in (*document, end)]


def _rows(line, length):
    B = len(line) // length
    return torch.tensor(line[: B * length]).view(B, length)


PACK = Exercise(
    id="04.4",
    kind="implement",
    title="pack documents into full rows",
    minutes=10,
    difficulty=2,
    checker=Twin(trusted=token_by_token, cases=cases, probe=packed),
    hints=(
        "First one long line: the tokens of a document, the end, the tokens of the "
        "next. Then as many full rows as it gives. The number of a document is the "
        "number of ends that a row has had so far.",
        "`line = [t for d in documents for t in (*d, end)]`, `B = len(line) // length`,"
        " `ids = torch.tensor(line[:B * length]).view(B, length)`, and "
        "`(ids == end).cumsum(dim=-1)` numbers them.",
    ),
    solution=pack,
    why="The numbers come from the ids alone, so that packed text can be kept on disk "
    "as one line of ids: `PackedBatches` does so.",
    wrong=mistakes(
        no_ends,
        ends_in_front,
        rest_filled_up,
        a_row_each,
        no_document_torn,
        end_with_the_old,
        all_one,
        one_token_shared,
    ),
)
