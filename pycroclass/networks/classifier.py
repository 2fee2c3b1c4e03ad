"""What every network is: features of an item, and a judgement on them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import nn

from pycroclass.errors import ParameterError


class Classifier(nn.Module, ABC):
    """A network that sorts items into classes: `embed` describes an item, `logits` judges the description.

    Parameters
    ----------
    item_shape : tuple of int or None
        Of one item: ``(channel, y, x)`` or ``(length,)``; None where any size will do.
    n_features : int
        Length of the embedding.
    n_classes : int
        Number of logits.
    dropout : float
        Share of the embedding that is dropped in training before it is judged.

    Raises
    ------
    ParameterError
        If the dropout is not from 0 to less than 1.
    """

    def __init__(self, item_shape: tuple[int | None, ...], *, n_features: int, n_classes: int, dropout: float = 0.0) -> None:
        super().__init__()
        if not 0 <= dropout < 1:
            raise ParameterError(f"dropout must be a share from 0 to less than 1, got {dropout}")
        self.item_shape = item_shape
        self.n_features = n_features
        self.n_classes = n_classes
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()  # a dropout of 0 would still draw random numbers
        self.head: nn.Module = nn.Linear(n_features, n_classes)

    @abstractmethod
    def embed(self, items: torch.Tensor) -> torch.Tensor:
        """Features of shape ``(batch, n_features)`` of items of shape ``(batch, *item_shape)``."""

    def logits(self, embedding: torch.Tensor) -> torch.Tensor:
        """Logits of shape ``(batch, n_classes)`` of what `embed` gives; their softmax is the probability of each class."""
        logits: torch.Tensor = self.head(self.dropout(embedding))
        return logits

    def forward(self, items: torch.Tensor) -> torch.Tensor:
        """Logits of items."""
        return self.logits(self.embed(items))

    def depth_groups(self) -> list[list[str]]:
        """Modules that hold the weights, by name, from the input to the last layer, which makes the last group.

        Every parameter is that of one of them: its name is theirs, or begins with theirs and a dot. Training can give each group its own
        learning rate, or leave it as it is. By default each child is a group.
        """
        names = dict.fromkeys(name.partition(".")[0] for name, _ in self.named_parameters())
        return [[name] for name in sorted(names, key=lambda name: name == "head")]

    def first_convolution(self) -> str:
        """Name of the two-dimensional convolution that sees the image first.

        Raises
        ------
        ParameterError
            If there is none.
        """
        last = self.depth_groups()[-1]
        for name, module in self.named_modules():
            if isinstance(module, nn.Conv2d) and name not in last:
                return str(name)
        raise ParameterError(f"{type(self).__name__} has no two-dimensional convolution, and so no filters to show")

    def first_filters(self) -> torch.Tensor:
        """What the first convolution looks for, of shape ``(n_filters, channel, y, x)``; see `first_convolution` for errors."""
        return self.get_parameter(f"{self.first_convolution()}.weight").detach()


class ImageClassifier(Classifier):
    """A network for images whose embedding is made of a map of features: it can say where in the image it saw what it judges.

    `feature_map` and `pool` take the place of `embed`.

    Attributes
    ----------
    wants_standardised : bool
        Whether it was made for images of mean 0 and standard deviation 1, and does not bring others there itself.
    """

    wants_standardised: ClassVar[bool] = False

    @abstractmethod
    def feature_map(self, items: torch.Tensor) -> torch.Tensor:
        """Features of shape ``(batch, n, y, x)``, fewer pixels than the image, of items of shape ``(batch, channel, y, x)``."""

    def pool(self, feature_map: torch.Tensor) -> torch.Tensor:
        """The embedding, of shape ``(batch, n_features)``, of what `feature_map` gives: by default its mean over all pixels."""
        return feature_map.mean((-2, -1))

    def embed(self, items: torch.Tensor) -> torch.Tensor:
        return self.pool(self.feature_map(items))


class PixelClassifier(Classifier):
    """A network that sorts every pixel: `embed` gives ``(batch, n_features, y, x)`` and `logits` ``(batch, n_classes, y, x)``.

    Parameters
    ----------
    item_shape : tuple of int or None
        Of one image: ``(channel, y, x)``; None where any size will do.
    n_features : int
        Features of a pixel.
    n_classes : int
        Number of logits of a pixel.
    dropout : float
        Share of the features that is dropped in training before they are judged.
    """

    def __init__(self, item_shape: tuple[int | None, ...], *, n_features: int, n_classes: int, dropout: float = 0.0) -> None:
        super().__init__(item_shape, n_features=n_features, n_classes=n_classes, dropout=dropout)
        self.head = nn.Conv2d(n_features, n_classes, 1)
