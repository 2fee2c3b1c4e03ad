"""The training loop, on Lightning: the one module that imports it, which takes seconds."""

from __future__ import annotations

import logging
import math
import signal
import threading
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import lightning.pytorch as lightning
import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch.utilities.exceptions import SIGTERMException

from pycroclass.array_value import ArrayValue
from pycroclass.augmentation import Augmentation, Chance, augmented, mixed
from pycroclass.errors import DataError, ParameterError
from pycroclass.estimators._batches import Batches, LabelledItems
from pycroclass.estimators._checkpoint import State
from pycroclass.estimators._descent import Average, Schedule, parameter_groups, set_learning
from pycroclass.estimators._history import HistoryLog
from pycroclass.estimators.session import Progress, Session
from pycroclass.networks import Classifier

if TYPE_CHECKING:
    from pycroclass.estimators.classifier import NetworkClassifier

log = logging.getLogger(__name__)

_PRECISION: Final[dict[str, Any]] = {"float32": "32-true", "bfloat16": "bf16-mixed", "float16": "16-mixed"}
_TELL_EVERY: Final = 0.2
_AUGMENTING: Final = 1
"""Keeps the random numbers of augmentation apart from those that shuffle the same epoch."""


@dataclass(frozen=True, eq=False)
class Task:
    """What to learn from which items.

    Parameters
    ----------
    module : Classifier
        Its weights are where the training begins.
    items : LabelledItems
    training, validation : int64 array
        Numbers of the items to learn from, and to judge by.
    settings : NetworkClassifier
    session : Session
    about : mapping
        What makes this the same training as another; JSON-ready.
    deadline : float
        On the clock of `time.monotonic`.
    """

    module: Classifier
    items: LabelledItems
    training: npt.NDArray[np.int64]
    validation: npt.NDArray[np.int64]
    settings: NetworkClassifier
    session: Session = field(default_factory=Session)
    about: Mapping[str, Any] = field(default_factory=dict)
    deadline: float = math.inf

    @property
    def counts(self) -> npt.NDArray[np.int64]:
        """Training items of each class."""
        return np.bincount(self.items.labels[self.training], minlength=self.module.n_classes)


@dataclass(frozen=True)
class Fitted:
    """The weights of the best epoch, and what was seen on the way."""

    weights: dict[str, ArrayValue]
    history: tuple[dict[str, Any], ...]
    best: dict[str, Any]
    stopped: str


def fit(task: Task) -> Fitted:
    """Train on some items and keep the weights that do best on others; goes on from the checkpoint of the session, if there is one.

    Raises
    ------
    DataError
        If the loss is not finite, or the checkpoint is of another training.
    ReadError
        If the checkpoint is none.
    """
    settings, session = task.settings, task.session
    state = State.load(session.checkpoint, task.about) if session.checkpoint else State()
    n_left = settings.epochs - len(state.history)
    has_gpu = torch.cuda.is_available()
    if settings.optimisation.precision == "float16" and not has_gpu:
        raise ParameterError("precision 'float16' is for a GPU, and there is none; use 'bfloat16' or 'float32'")
    if n_left and state.stopped != "patience":
        if state.history:
            log.info("going on after epoch %d of %d, from %s", len(state.history), settings.epochs, session.checkpoint)
        loop = _Loop(task, state)
        with _quiet(), _reproducible(), _interruptible():
            trainer = lightning.Trainer(
                accelerator="cuda" if has_gpu else "cpu",
                devices=1,
                max_epochs=n_left,
                precision=_PRECISION[settings.optimisation.precision],
                accumulate_grad_batches=settings.optimisation.accumulate,
                reload_dataloaders_every_n_epochs=1,
                num_sanity_val_steps=0,
                logger=False,
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
                plugins=[LightningEnvironment()],  # one process, also inside a batch system's job
            )
            trainer.fit(loop)
    weights = {name: ArrayValue(tensor.cpu().numpy()) for name, tensor in state.tensors["best"].items()}
    return Fitted(weights, tuple(state.history), state.best, state.stopped)


class _Loop(lightning.LightningModule):
    """AdamW on the cross entropy; after each epoch, how it does on the validation items, whose classes count by their stated prior;
    the weights of the lowest loss there are kept.

    All random numbers of an epoch follow from its number, so that a training can go on from any.
    """

    def __init__(self, task: Task, state: State) -> None:
        super().__init__()
        settings = task.settings
        self.task = task
        self.state = state
        self.n_before = len(state.history)
        self.module = task.module
        self.average = Average(task.module, settings.optimisation.averaging) if settings.optimisation.averaging else None
        self.schedule = Schedule(settings.epochs, settings.learning_rate, settings.transfer)
        self.augmentation = Augmentation.of(settings.augmentation)
        counts, balance = task.counts, settings.balance
        self.class_weight: torch.Tensor | None
        weight = torch.from_numpy(balance.inverse_frequency(counts)).float() if balance.method == "weights" else None
        self.register_buffer("class_weight", weight, persistent=False)
        shift = torch.from_numpy(balance.shift(counts, settings.classes)).float()
        self.shift = torch.nn.Buffer(shift, persistent=False)
        self.repeats = balance.inverse_frequency(counts) if balance.method == "sampler" else None
        self.prior = torch.from_numpy(balance.stated(counts, settings.classes))
        self.log_file = HistoryLog(task.session.log, n_before=self.n_before) if task.session.log else None
        self.times = _Times()
        self._load()

    @property
    def epoch(self) -> int:
        """Counted from 0 over all runs of this training."""
        return self.n_before + int(self.current_epoch)

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """There is one."""
        found = self.optimizers(use_pl_optimizer=False)
        return found[0] if isinstance(found, list) else found

    @property
    def judged(self) -> torch.nn.Module:
        """What is validated and kept."""
        return self.module if self.average is None else self.average.module

    def configure_optimizers(self) -> torch.optim.Optimizer:
        settings = self.task.settings
        groups = parameter_groups(self.module, settings.transfer.layer_decay if settings.transfer else 1.0)
        optimizer = torch.optim.AdamW(groups, lr=settings.learning_rate, weight_decay=settings.optimisation.weight_decay)
        if "optimiser" in self.state.tensors:
            moments: dict[int, dict[str, torch.Tensor]] = {}
            for name, tensor in self.state.tensors["optimiser"].items():
                number, _, what = name.partition(".")
                moments.setdefault(int(number), {})[what] = tensor
            optimizer.load_state_dict({**optimizer.state_dict(), "state": moments})
        return optimizer

    def on_fit_start(self) -> None:
        if self.state.scaler:
            self.trainer.precision_plugin.load_state_dict(self.state.scaler)

    def train_dataloader(self) -> Any:
        settings = self.task.settings
        seed = (settings.seed, self.epoch)
        return Batches(self.task.items, self.task.training, settings.batch_size, seed=seed, repeats=self.repeats)

    def val_dataloader(self) -> Any:
        return Batches(self.task.items, self.task.validation, self.task.settings.batch_size)

    def on_train_epoch_start(self) -> None:
        settings, epoch = self.task.settings, self.epoch
        torch.manual_seed(int(np.random.SeedSequence((settings.seed, epoch)).generate_state(1)[0]))  # of dropout
        self.chance = Chance((settings.seed, epoch, _AUGMENTING), self.device)
        rate = self.schedule.of(epoch)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["scale"]
        freeze_norm = settings.transfer is not None and settings.transfer.freezes_norm(settings.batch_size)
        set_learning(self.module, head_alone=self.schedule.is_head_alone(epoch), freeze_norm=freeze_norm)
        self.losses: list[torch.Tensor] = []
        self.n_done = 0
        self.validation_losses = torch.zeros(self.module.n_classes, dtype=torch.float64)
        self.confusion = torch.zeros(self.module.n_classes, self.module.n_classes, dtype=torch.int64)
        self.times.begin_epoch()

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], _: int) -> torch.Tensor:
        items, labels = batch
        items, targets = mixed(augmented(items, self.augmentation, self.chance), labels, self.augmentation, self.chance)
        logits = self.module(items) + self.shift
        smoothing = self.task.settings.optimisation.label_smoothing
        loss = torch.zeros((), device=logits.device)
        for truth, share in targets:
            loss = loss + share * F.cross_entropy(logits, truth, self.class_weight, label_smoothing=smoothing)
        self.losses.append(loss.detach())
        return loss

    def on_train_batch_end(self, outputs: Any, batch: tuple[torch.Tensor, torch.Tensor], batch_idx: int) -> None:
        self.n_done += len(batch[1])
        n_steps = self.n_steps
        if self.average is not None and n_steps > self.state.n_steps:
            self.average.update(self.module, n_steps)
        self.state.n_steps = n_steps
        if self.task.session.progress and self.times.is_time_to_tell():
            self._tell(None)

    @property
    def n_steps(self) -> int:
        """Of the optimiser, over all runs of this training."""
        return self.n_steps_before + int(self.global_step)

    def validation_step(self, batch: tuple[torch.Tensor, torch.Tensor], _: int) -> None:
        items, labels = batch
        logits = self.judged(items).float()
        losses = F.cross_entropy(logits, labels, reduction="none").cpu().double()
        self.validation_losses.index_add_(0, labels.cpu(), losses)
        pairs = labels * self.module.n_classes + logits.argmax(1)
        self.confusion += torch.bincount(pairs.cpu(), minlength=self.confusion.numel()).view_as(self.confusion)

    def on_validation_epoch_end(self) -> None:
        count = self.confusion.sum(1)
        recall = self.confusion.diagonal() / count
        epoch = {
            "epoch": self.epoch + 1,
            "training_loss": float(torch.stack(self.losses).mean()),
            "validation_loss": float((self.prior * self.validation_losses / count).sum()),
            "accuracy": float(self.confusion.diagonal().sum() / self.confusion.sum()),
            "balanced_accuracy": float(recall.mean()),
        }
        if not np.isfinite(list(epoch.values())).all():
            raise DataError(
                f"the training diverged in epoch {epoch['epoch']}: its loss is not finite. Lower learning_rate or scale the data."
            )
        self.state.history.append(epoch)
        if not self.state.best or epoch["validation_loss"] < self.state.best["validation_loss"]:
            self.state.best = {**epoch, "confusion": self.confusion.tolist()}
            self.state.tensors["best"] = _copy(self.judged.state_dict())

    def on_train_epoch_end(self) -> None:
        """Tell, decide whether to go on, and keep the state."""
        epoch, settings = self.state.history[-1], self.task.settings
        log.info(
            "epoch %d of %d: loss %.4f, validation loss %.4f, balanced accuracy %.4f",
            *(epoch["epoch"], settings.epochs, epoch["training_loss"], epoch["validation_loss"], epoch["balanced_accuracy"]),
        )
        if self.log_file:
            self.log_file.write(self.state.history)
        self._tell(epoch)
        self.times.end_epoch()
        n_waited = epoch["epoch"] - max(self.state.best["epoch"], settings.transfer.head_epochs if settings.transfer else 0)
        is_last = epoch["epoch"] == settings.epochs
        self.state.stopped = ""
        if settings.optimisation.patience is not None and n_waited >= settings.optimisation.patience and not is_last:
            self.state.stopped = "patience"
        elif not is_last and time.monotonic() + self.times.longest > self.task.deadline:
            self.state.stopped = "max_seconds"
        self.trainer.should_stop = bool(self.state.stopped)
        session = self.task.session
        if session.checkpoint and (is_last or self.state.stopped or self.times.since_kept() >= session.checkpoint_seconds):
            self._keep()
            self.state.save(session.checkpoint, self.task.about)
            self.times.kept = time.monotonic()

    def _tell(self, result: Mapping[str, Any] | None) -> None:
        if self.task.session.progress:
            self.task.session.progress(Progress(self.epoch + 1, self.task.settings.epochs, self.n_done, len(self.task.training), result))

    def _keep(self) -> None:
        """Bring what torch holds into the state."""
        moments = self.optimizer.state_dict()["state"]
        self.state.tensors["optimiser"] = {f"{number}.{what}": t for number, values in moments.items() for what, t in values.items()}
        self.state.tensors["weights"] = dict(self.module.state_dict())
        if self.average is not None:
            self.state.tensors["average"] = dict(self.average.module.state_dict())
        self.state.scaler = self.trainer.precision_plugin.state_dict()

    def _load(self) -> None:
        """Bring what the state holds to torch."""
        self.n_steps_before = self.state.n_steps
        if "weights" in self.state.tensors:
            self.module.load_state_dict(self.state.tensors["weights"])
        if self.average is not None and "average" in self.state.tensors:
            self.average.module.load_state_dict(self.state.tensors["average"])


class _Times:
    """How long epochs take, and when it was last told and kept."""

    def __init__(self) -> None:
        self.kept = time.monotonic()
        self.told = 0.0
        self.begun = 0.0
        self.longest = 0.0

    def begin_epoch(self) -> None:
        """Start the clock of an epoch."""
        self.begun = time.monotonic()

    def end_epoch(self) -> None:
        """Stop it; the longest counts."""
        self.longest = max(self.longest, time.monotonic() - self.begun)

    def since_kept(self) -> float:
        """Seconds since the last checkpoint."""
        return time.monotonic() - self.kept

    def is_time_to_tell(self) -> bool:
        """Whether nothing was told for a while."""
        now = time.monotonic()
        if now - self.told < _TELL_EVERY:
            return False
        self.told = now
        return True


def _copy(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}


@contextmanager
def _quiet() -> Iterator[None]:
    """Lightning's greetings stay away, and its use of what torch calls outdated; other warnings do not."""
    logger = logging.getLogger("lightning.pytorch")
    before = logger.level
    logger.setLevel(max(before, logging.WARNING))
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*LeafSpec", category=FutureWarning)
            yield
    finally:
        logger.setLevel(before)


@contextmanager
def _reproducible() -> Iterator[None]:
    """On a GPU, convolutions that give the same bits each time."""
    before = torch.backends.cudnn.deterministic
    torch.backends.cudnn.deterministic = True
    try:
        yield
    finally:
        torch.backends.cudnn.deterministic = before


@contextmanager
def _interruptible() -> Iterator[None]:
    """Signals stay what they are: Lightning makes an exit of Ctrl-C and leaves the process deaf to the next one, and lets one that is
    terminated end as if all were well."""
    is_main = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as error:
        if isinstance(error.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from None
        if isinstance(error, SIGTERMException):
            raise SystemExit(128 + signal.SIGTERM) from None
        raise
    finally:
        if is_main:
            signal.signal(signal.SIGINT, before)
