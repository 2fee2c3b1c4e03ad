"""The training loop, on Lightning: the one module that imports it, which takes seconds."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import lightning.pytorch as lightning
import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from lightning.fabric.plugins.environments.lightning import LightningEnvironment

from pycroclass.array_value import ArrayValue
from pycroclass.errors import DataError
from pycroclass.estimators._batches import Batches, LabelledItems
from pycroclass.networks import Classifier

if TYPE_CHECKING:
    from pycroclass.estimators.classifier import NetworkClassifier

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Fitted:
    """The weights of the best epoch, and what was seen on the way."""

    weights: dict[str, ArrayValue]
    history: tuple[dict[str, float], ...]
    best: dict[str, Any]


def fit(
    module: Classifier,
    items: LabelledItems,
    training: npt.NDArray[np.int64],
    validation: npt.NDArray[np.int64],
    settings: NetworkClassifier,
) -> Fitted:
    """Train on some items and keep the weights that do best on others.

    Raises
    ------
    DataError
        If the loss is not finite.
    """
    loop = _Loop(module, items, training, validation, settings)
    with _quiet(), _reproducible():
        trainer = lightning.Trainer(
            accelerator="cuda" if torch.cuda.is_available() else "cpu",
            devices=1,
            max_epochs=settings.epochs,
            reload_dataloaders_every_n_epochs=1,
            num_sanity_val_steps=0,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            plugins=[LightningEnvironment()],  # one process, also inside a batch system's job
        )
        trainer.fit(loop)
    return Fitted(loop.best_weights, tuple(loop.history), loop.best)


class _Loop(lightning.LightningModule):
    """AdamW with a cosine schedule on the (weighted) cross entropy; after each epoch, how it does on the validation items, where each
    class counts alike; the weights of the lowest loss there are kept."""

    def __init__(
        self,
        module: Classifier,
        items: LabelledItems,
        training: npt.NDArray[np.int64],
        validation: npt.NDArray[np.int64],
        settings: NetworkClassifier,
    ) -> None:
        super().__init__()
        self.module = module
        self.items = items
        self.training_items = training
        self.validation_items = validation
        self.settings = settings
        counts = torch.bincount(torch.from_numpy(items.labels[training]), minlength=module.n_classes)
        weight = counts.sum() / (module.n_classes * counts) if settings.balanced else torch.ones(module.n_classes)
        self.class_weight = torch.nn.Buffer(weight.float())
        self.augmenting = torch.Generator().manual_seed(settings.seed)
        self.history: list[dict[str, float]] = []
        self.best: dict[str, Any] = {}
        self.best_weights: dict[str, ArrayValue] = {}

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.AdamW(self.module.parameters(), lr=self.settings.learning_rate)
        return [optimizer], [torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.settings.epochs)]

    def train_dataloader(self) -> Any:
        return Batches(self.items, self.training_items, self.settings.batch_size, seed=(self.settings.seed, self.current_epoch))

    def val_dataloader(self) -> Any:
        return Batches(self.items, self.validation_items, self.settings.batch_size)

    def on_train_epoch_start(self) -> None:
        self.losses: list[torch.Tensor] = []
        self.validation_losses = torch.zeros(self.module.n_classes, dtype=torch.float64)
        self.confusion = torch.zeros(self.module.n_classes, self.module.n_classes, dtype=torch.int64)

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], _: int) -> torch.Tensor:
        items, labels = batch
        if self.settings.augmentation == "dihedral":
            items = dihedral(items, self.augmenting)
        loss = F.cross_entropy(self.module(items), labels, self.class_weight)
        self.losses.append(loss.detach())
        return loss

    def validation_step(self, batch: tuple[torch.Tensor, torch.Tensor], _: int) -> None:
        items, labels = batch
        logits = self.module(items)
        losses = F.cross_entropy(logits, labels, reduction="none").cpu().double()
        self.validation_losses.index_add_(0, labels.cpu(), losses)
        pairs = labels * self.module.n_classes + logits.argmax(1)
        self.confusion += torch.bincount(pairs.cpu(), minlength=self.confusion.numel()).view_as(self.confusion)

    def on_validation_epoch_end(self) -> None:
        count = self.confusion.sum(1)
        recall = self.confusion.diagonal() / count
        epoch = {
            "epoch": self.current_epoch + 1,
            "training_loss": float(torch.stack(self.losses).mean()),
            "validation_loss": float((self.validation_losses / count).mean()),
            "accuracy": float(self.confusion.diagonal().sum() / self.confusion.sum()),
            "balanced_accuracy": float(recall.mean()),
        }
        if not np.isfinite(list(epoch.values())).all():
            raise DataError(
                f"the training diverged in epoch {epoch['epoch']}: its loss is not finite. Lower learning_rate or scale the data."
            )
        self.history.append(epoch)
        log.info(
            "epoch %d of %d: loss %.4f, validation loss %.4f, balanced accuracy %.4f",
            *(epoch["epoch"], self.settings.epochs, epoch["training_loss"], epoch["validation_loss"], epoch["balanced_accuracy"]),
        )
        if not self.best or epoch["validation_loss"] < self.best["validation_loss"]:
            self.best = {**epoch, "confusion": self.confusion.tolist()}
            self.best_weights = {name: ArrayValue(tensor.detach().cpu().numpy()) for name, tensor in self.module.state_dict().items()}


def dihedral(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Each image ``(batch, channel, y, x)`` mirrored and turned by a multiple of 90 degrees at random; not turned where y and x differ."""
    is_square = images.shape[-1] == images.shape[-2]

    def some() -> torch.Tensor:
        return (torch.rand(len(images), 1, 1, 1, generator=generator) < 0.5).to(images.device)

    images = torch.where(some(), images.flip(-1), images)
    images = torch.where(some(), images.flip(-2), images)
    return torch.where(some(), images.transpose(-1, -2), images) if is_square else images


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
