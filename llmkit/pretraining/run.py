"""One run, from its options to its result."""

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch

from llmkit import corpus
from llmkit.metrics import bits_per_byte
from llmkit.planning import Cost, estimate_cost
from llmkit.pretraining.data import deal, read
from llmkit.pretraining.folder import (
    LATER,
    MAY_CHANGE,
    check_folder,
    clear,
    identity,
)
from llmkit.pretraining.options import PretrainOptions
from llmkit.training import (
    LOG,
    Step,
    alone_in,
    check_same_run,
    chosen_tracker,
    find_checkpoints,
    fit,
    is_main,
    joined,
    keep_log_before,
    numbers_in,
    track,
    wait_for_all,
    write_line,
    write_record,
)
from llmkit.transformer import Decoder, MaskedLM, save_model


@dataclass
class Pretraining:
    """One run, made ready: what it will cost, then its steps, then its result.

    Raises: ValueError if the text can't be read or is too short, or `out` holds
    another run.
    """

    options: PretrainOptions
    last: Step | None = field(default=None, init=False)
    val_loss: float | None = field(default=None, init=False)
    was_done: bool = field(default=False, init=False)  # before this began

    def __post_init__(self):
        options = self.options
        chosen_tracker(options.track)
        check_folder(options)
        text = corpus.load(options.corpus, size=options.size, seed=options.seed)
        self.identity = identity(options, text.text)
        if options.resume:
            check_same_run(Path(options.out), self.identity, MAY_CHANGE, LATER)
        self.data = read(options, text.documents)
        self.tokenizer = self.data.tokenizer
        shape = options.shape(self.tokenizer.vocab_size)
        self.batches, self.evaluation = deal(options, self.data, shape)
        torch.manual_seed(options.seed)
        self.model = self._kind(shape)
        self.training = options.training()

    @property
    def _masked(self) -> bool:
        return self.options.objective == "masked"

    @property
    def _kind(self) -> type[Decoder] | type[MaskedLM]:
        return MaskedLM if self._masked else Decoder

    @property
    def cost(self) -> Cost:
        """Say what the run will take, before it starts."""
        share = self.batches.masking.share if self._masked else 1.0
        rows = self.batches.batch_size
        return estimate_cost(self.model.config, self.training, rows, self._kind, share)

    def steps(self) -> Iterator[Step]:
        """Train, yielding each step; leave the model in the folder at the end.

        A run that had reached its end yields none, and its model is written again:
        whoever goes on until all is done may do so once too often.

        Raises: KeyboardInterrupt after Ctrl-C, with a checkpoint kept.
        """
        out = Path(self.options.out)
        with alone_in(out):
            if is_main():  # the others train along and write nothing
                self._open(out)
            wait_for_all()
            yield from self._train(out)
            model = joined(self.model, lambda: self._kind(self.model.config))
            if is_main():
                save_model(model, out)
            wait_for_all()  # the folder is whole before any process goes

    def _open(self, out: Path) -> None:
        """Make the folder this run's."""
        check_folder(self.options)  # again: a run may have ended there meanwhile
        if self.options.overwrite:
            clear(out)
        write_record(out, self.identity)
        self.tokenizer.save(out)

    def _train(self, out: Path) -> Iterator[Step]:
        """Yield each step, and write it down."""
        run = fit(
            self.model,
            self.batches,
            self.training,
            self.evaluation,
            resume=self.options.resume,
        )
        run = track(run, out, self.options.track, self.identity)
        log = None
        try:
            for step in run:
                if log is None and is_main():
                    keep_log_before(step.number, out)
                    log = open(out / LOG, "a", buffering=1)  # noqa: SIM115
                self.last = step
                if step.val_loss is not None:
                    self.val_loss = step.val_loss
                if log:
                    write_line(log, asdict(step))
                yield step
        finally:
            run.close()
            if log:
                log.close()
        if self.last is None:
            self._recall(out)

    def _recall(self, out: Path) -> None:
        """Take the figures of a run that had reached its end from where it kept them.

        Raises: ValueError if it went on beyond the end that is asked for now.
        """
        numbers = numbers_in(find_checkpoints(out)[0])
        number, self.val_loss = numbers["step"], numbers["val_loss"]
        if self.val_loss is None:
            raise ValueError(
                f"nothing left to do: the run in {str(out)!r} has made {number} steps "
                "and was not evaluated there; give a larger --max-steps or "
                "--max-seconds"
            )
        told = numbers["tokens"], numbers["seconds"]
        self.last = Step(number, math.nan, 0.0, *told, 1.0, self.val_loss)
        self.was_done = True

    def result(self) -> dict:
        """Return the figures of the finished run, ready for JSON.

        `seconds` is training alone; `val_loss` is in nats a token over the whole
        validation split, in windows of the training context (of the masked tokens, for
        masked prediction). Of next-token prediction, bits per byte compare runs with
        different tokenizers.
        """
        last, parameters = self.last, self.cost.parameters
        speed = last.tokens / last.seconds if last.seconds else 0.0
        result = {
            "seconds": round(last.seconds, 3),
            "steps": last.number,
            "tokens": last.tokens,
            "parameters": parameters,
            "tokens_per_second": round(speed, 1),
            "val_loss": round(self.val_loss, 5),
        }
        if not self._masked:
            data = self.data
            bits = bits_per_byte(self.val_loss, len(data.validation), data.size)
            result["val_bits_per_byte"] = round(bits, 5)
        return result
