"""The training loop, on Lightning Fabric: the one module that imports it, which takes seconds."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from lightning.fabric import Fabric
from lightning.fabric.plugins.environments.lightning import LightningEnvironment

from pycroclass.array_value import ArrayValue
from pycroclass.augmentation import Augmentation, Chance, augmented, mixed
from pycroclass.errors import DataError, ParameterError
from pycroclass.estimators._batches import Batches, LabelledItems
from pycroclass.estimators._checkpoint import State
from pycroclass.estimators._descent import Average, Schedule, cross_entropy, parameter_groups, set_learning
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
    if settings.optimisation.precision == "float16" and not torch.cuda.is_available():
        raise ParameterError("precision 'float16' is for a GPU, and there is none; use 'bfloat16' or 'float32'")
    if len(state.history) < settings.epochs and state.stopped != "patience":
        if state.history:
            log.info("going on after epoch %d of %d, from %s", len(state.history), settings.epochs, session.checkpoint)
        with _quiet(), _reproducible():
            _Loop(task, state).run()
    weights = {name: ArrayValue(tensor.cpu().numpy()) for name, tensor in state.tensors["best"].items()}
    return Fitted(weights, tuple(state.history), state.best, state.stopped)


class _Loop:
    """AdamW on the cross entropy; after each epoch, how it does on the validation items, whose classes count by their stated prior;
    the weights of the lowest loss there are kept.

    All random numbers of an epoch follow from its number, so that a training can go on from any.
    """

    def __init__(self, task: Task, state: State) -> None:
        settings = task.settings
        self.task = task
        self.state = state
        self.fabric = Fabric(
            accelerator="cuda" if torch.cuda.is_available() else "cpu",
            devices=1,
            precision=_PRECISION[settings.optimisation.precision],
            plugins=[LightningEnvironment()],  # one process, also inside a batch system's job
        )
        self.device = self.fabric.device
        self.module = task.module
        self.average = Average(task.module, settings.optimisation.averaging).to(self.device) if settings.optimisation.averaging else None
        self.schedule = Schedule(settings.epochs, settings.learning_rate, settings.transfer)
        self.augmentation = Augmentation.of(settings.augmentation)
        counts, balance = task.counts, settings.balance
        weight = balance.inverse_frequency(counts)
        self.class_weight = torch.from_numpy(weight).float().to(self.device) if balance.method == "weights" else None
        self.repeats = weight if balance.method == "sampler" else None
        self.shift = torch.from_numpy(balance.shift(counts, settings.classes)).float().to(self.device)
        self.prior = torch.from_numpy(balance.stated(counts, settings.classes))
        self.log_file = HistoryLog(task.session.log, n_before=len(state.history)) if task.session.log else None
        self.times = _Times()
        self._set_up()

    @property
    def judged(self) -> torch.nn.Module:
        """What is validated and kept."""
        return self.module if self.average is None else self.average.module

    def run(self) -> None:
        """All epochs that are left, until there is a reason to stop."""
        for epoch in range(len(self.state.history), self.task.settings.epochs):
            self.times.begin_epoch()
            self._begin(epoch)
            loss = self._learn(epoch)
            self._judge(epoch, loss)
            self._end(epoch)
            if self.state.stopped:
                break

    def _set_up(self) -> None:
        """Bring network and optimiser to the device, and into the state of an earlier run."""
        settings, tensors = self.task.settings, self.state.tensors
        if "weights" in tensors:
            self.module.load_state_dict(tensors["weights"])
        if self.average is not None and "average" in tensors:
            self.average.module.load_state_dict(tensors["average"])
        groups = parameter_groups(self.module, settings.transfer.layer_decay if settings.transfer else 1.0)
        self.optimizer = torch.optim.AdamW(groups, lr=settings.learning_rate, weight_decay=settings.optimisation.weight_decay, fused=True)
        self.learner, self.stepper = self.fabric.setup(self.module, self.optimizer)
        if "optimiser" in tensors:
            moments: dict[int, dict[str, torch.Tensor]] = {}
            for name, tensor in tensors["optimiser"].items():
                number, _, what = name.partition(".")
                moments.setdefault(int(number), {})[what] = tensor
            self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": moments})
        if self.state.scaler:
            self.fabric.strategy.precision.load_state_dict(self.state.scaler)

    def _begin(self, epoch: int) -> None:
        """Set what depends on the epoch: random numbers, rates, what learns."""
        settings = self.task.settings
        torch.manual_seed(int(np.random.SeedSequence((settings.seed, epoch)).generate_state(1)[0]))  # of dropout
        self.chance = Chance((settings.seed, epoch, _AUGMENTING), self.device)
        rate = self.schedule.of(epoch)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["scale"]
        freeze_norm = settings.transfer is not None and settings.transfer.freezes_norm(settings.batch_size)
        set_learning(self.module, head_alone=self.schedule.is_head_alone(epoch), freeze_norm=freeze_norm)

    def _learn(self, epoch: int) -> float:
        """Go through the training items once; gives the mean loss."""
        settings = self.task.settings
        batches = Batches(self.task.items, self.task.training, settings.batch_size, seed=(settings.seed, epoch), repeats=self.repeats)
        n_together = settings.optimisation.accumulate
        losses: list[torch.Tensor] = []
        n_done = 0
        for items, labels in batches:
            loss = self._loss(items.to(self.device), labels.to(self.device))
            self.fabric.backward(loss / n_together)
            losses.append(loss.detach())
            n_done += len(labels)
            if len(losses) % n_together == 0:
                self._step()
            if self.task.session.progress and self.times.is_time_to_tell():
                self._tell(epoch, n_done, None)
        if len(losses) % n_together:
            self._step()
        return float(torch.stack(losses).mean())

    def _loss(self, items: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        settings = self.augmentation
        items, targets = mixed(augmented(items, settings, self.chance), labels, settings, self.chance)
        logits = self.learner(items) + self.shift
        smoothing = self.task.settings.optimisation.label_smoothing
        losses = [share * cross_entropy(logits, truth, self.class_weight, smoothing) for truth, share in targets]
        return torch.stack(losses).sum()

    def _step(self) -> None:
        self.stepper.step()
        self.stepper.zero_grad()
        self.state.n_steps += 1
        if self.average is not None:
            self.average.update(self.module, self.state.n_steps)

    def _judge(self, epoch: int, training_loss: float) -> None:
        """Look at the validation items, and keep the weights if they are the best so far."""
        n_classes, judged = self.module.n_classes, self.judged
        losses = torch.zeros(n_classes, dtype=torch.float64)
        confusion = torch.zeros(n_classes, n_classes, dtype=torch.int64)
        judged.eval()
        with torch.inference_mode(), self.fabric.autocast():
            for items, labels in Batches(self.task.items, self.task.validation, self.task.settings.batch_size):
                logits = judged(items.to(self.device)).float().cpu()
                losses.index_add_(0, labels, F.cross_entropy(logits, labels, reduction="none").double())
                confusion += torch.bincount(labels * n_classes + logits.argmax(1), minlength=n_classes**2).view_as(confusion)
        count, hits = confusion.sum(1), confusion.diagonal()
        result = {
            "epoch": epoch + 1,
            "training_loss": training_loss,
            "validation_loss": float((self.prior * losses / count).sum()),
            "accuracy": float(hits.sum() / count.sum()),
            "balanced_accuracy": float((hits / count).mean()),
        }
        if not np.isfinite(list(result.values())).all():
            raise DataError(f"the training diverged in epoch {epoch + 1}: its loss is not finite. Lower learning_rate or scale the data.")
        self.state.history.append(result)
        if not self.state.best or result["validation_loss"] < self.state.best["validation_loss"]:
            self.state.best = {**result, "confusion": confusion.tolist()}
            self.state.tensors["best"] = {name: tensor.detach().cpu().clone() for name, tensor in judged.state_dict().items()}

    def _end(self, epoch: int) -> None:
        """Tell, decide whether to go on, and keep the state."""
        settings, session, result = self.task.settings, self.task.session, self.state.history[-1]
        log.info(
            "epoch %d of %d: loss %.4f, validation loss %.4f, balanced accuracy %.4f",
            *(epoch + 1, settings.epochs, result["training_loss"], result["validation_loss"], result["balanced_accuracy"]),
        )
        if self.log_file:
            self.log_file.write(self.state.history)
        self._tell(epoch, len(self.task.training), result)
        self.times.end_epoch()
        self.state.stopped = self._reason_to_stop(epoch)
        is_last = bool(self.state.stopped) or epoch + 1 == settings.epochs
        if session.checkpoint and (is_last or self.times.since_kept() >= session.checkpoint_seconds):
            self._keep(session.checkpoint)

    def _reason_to_stop(self, epoch: int) -> str:
        settings = self.task.settings
        if epoch + 1 == settings.epochs:
            return ""
        n_waited = epoch + 1 - max(self.state.best["epoch"], settings.transfer.head_epochs if settings.transfer else 0)
        if settings.optimisation.patience is not None and n_waited >= settings.optimisation.patience:
            return "patience"
        return "max_seconds" if time.monotonic() + self.times.longest > self.task.deadline else ""

    def _tell(self, epoch: int, n_done: int, result: Mapping[str, Any] | None) -> None:
        if self.task.session.progress:
            self.task.session.progress(Progress(epoch + 1, self.task.settings.epochs, n_done, len(self.task.training), result))

    def _keep(self, path: Path) -> None:
        """Bring what torch holds into the state, and the state to the disk."""
        moments = self.optimizer.state_dict()["state"]
        self.state.tensors["optimiser"] = {f"{number}.{what}": t for number, values in moments.items() for what, t in values.items()}
        self.state.tensors["weights"] = dict(self.module.state_dict())
        if self.average is not None:
            self.state.tensors["average"] = dict(self.average.module.state_dict())
        self.state.scaler = self.fabric.strategy.precision.state_dict()
        self.state.save(path, self.task.about)
        self.times.kept = time.monotonic()


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


@contextmanager
def _quiet() -> Iterator[None]:
    """Lightning's remarks stay away; its warnings do not."""
    logger = logging.getLogger("lightning.fabric")
    before = logger.level
    logger.setLevel(max(before, logging.WARNING))
    try:
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
