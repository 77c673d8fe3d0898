"""Read a dataset of the Hugging Face hub, through the library `datasets`."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from llmkit.corpus.files import one_line, text_column

if TYPE_CHECKING:
    import datasets

_OFFLINE = (
    "corpora that need no network are 'stories', 'python-docs', 'reviews' and your own "
    "files; a dataset that was loaded before is found with HF_HUB_OFFLINE=1"
)


def hub_texts(source: str) -> Iterator[str]:
    """Yield the texts of hub:NAME[/CONFIG][:SPLIT][#COLUMN].

    Examples: hub:roneneldan/TinyStories, hub:wikitext/wikitext-2-raw-v1:test and
    hub:owner/name/config:train[:1%]#body. The split is train unless told, and the
    column is chosen as for a file. Nothing that a dataset brings along is executed.

    Raises ValueError for a dataset that cannot be had, at once where there is no
    network.
    """
    name, _, column = source.partition("#")
    dataset = hub_dataset(name)
    sample = dataset.select(range(min(len(dataset), 100))).to_pandas()
    column = text_column(sample, column or None, source)
    for batch in dataset.select_columns(column).iter(batch_size=1000):
        yield from filter(None, batch[column])


def hub_dataset(source: str) -> "datasets.Dataset":
    """Load hub:NAME[/CONFIG][:SPLIT], all of its columns, as `hub_texts` says.

    Raises ValueError for a dataset that cannot be had.
    """
    name, _, part = source.removeprefix("hub:").partition(":")
    words, part = name.split("/"), part or "train"
    if len(words) > 3 or not all(words):
        raise ValueError(f"{source}: expected hub:NAME, hub:OWNER/NAME or …/CONFIG")
    config = words[2] if len(words) == 3 else None
    readings = [("/".join(words[:2]), config)]
    if len(words) == 2:  # a/b is b of the owner a or, of old, a with its config b
        readings += [(words[0], words[1])]
    repository, config = _known(source, readings)
    from datasets import load_dataset

    try:
        return load_dataset(repository, config, split=part)
    except Exception as error:  # a wrong config or split, a dataset with a script …
        reason = one_line(error)
        advice = f"; {_OFFLINE}" if isinstance(error, ConnectionError) else ""
        raise ValueError(f"{source}: not to be loaded: {reason}{advice}") from error


def _known(
    source: str, readings: list[tuple[str, str | None]]
) -> tuple[str, str | None]:
    """Return the reading that the hub knows, with the full name of the repository.

    A question of our own, as `datasets` tries for half a minute without a network.
    """
    from huggingface_hub import constants, dataset_info
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError
    from huggingface_hub.errors import RepositoryNotFoundError as NotFound

    if constants.HF_HUB_OFFLINE:
        return readings[0]
    for repository, config in readings:
        try:
            return dataset_info(repository, timeout=5).id, config
        except (NotFound, HFValidationError):
            continue
        except HfHubHTTPError:
            return repository, config  # loading will explain what is wrong
        except Exception as error:  # of whatever library it speaks HTTP with
            raise ValueError(
                f"{source}: {constants.ENDPOINT} cannot be reached "
                f"({type(error).__name__}): check the network; {_OFFLINE}"
            ) from error
    raise ValueError(
        f"{source}: {constants.ENDPOINT} has no such dataset: check the name, and log "
        "in with `hf auth login` if it is a private one"
    )
