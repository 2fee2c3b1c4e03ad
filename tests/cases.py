"""One line for each operator: an instance, and the data that it runs on. `test_conformance` does the rest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import torch

from pycroclass import operators as pc
from pycroclass.geometry import DetectorGeometry, Geometry, Panel, PanelGeometry
from pycroclass.geometry.assembly import Plane
from pycroclass.networks import HitNetwork, ImageResNet, SpectrumResNet, UNet
from pycroclass.operator import Operator
from pycroclass.spec import Axis, Spec

RNG: Final = np.random.default_rng(0)
FRAME: Final = Axis("frame", 5, "temporal", units="s", step=0.1)
Y: Final = Axis("y", 11, "spatial", units="nm", offset=-2.0, step=0.5)
X: Final = Axis("x", 14, "spatial", units="nm", step=0.5)
KY: Final = Axis("ky", 9, "reciprocal", units="1/nm", step=0.2)
KX: Final = Axis("kx", 8, "reciprocal", units="1/nm", step=0.2)
COLOUR: Final = Axis("channel", 3, "channel")
ENERGY: Final = Axis("energy", 15, "spectral", units="eV", offset=100.0, step=0.5)
DETECTOR: Final = Geometry((4.6, 7.3), pixel_size=(1e-4, 1e-4), distance=0.1, wavelength=1e-10)
PANELS: Final = PanelGeometry(
    (
        Panel(
            "a", min_fs=0, max_fs=5, min_ss=0, max_ss=10, corner_x=-7.2, corner_y=-5.1, fs=(1, 0.02, 0), ss=(-0.02, 1, 0), res=1e4, clen=0.1
        ),
        Panel("b", min_fs=7, max_fs=13, min_ss=1, max_ss=9, corner_x=9.3, corner_y=-3, fs=(0, 1, 0.1), ss=(-1, 0.1, 0), res=1e4, clen=0.11),
    ),
    wavelength=1e-10,
)
MODULES: Final = PanelGeometry(
    [Panel(f"m{i}", min_fs=0, max_fs=6, min_ss=0, max_ss=5, corner_x=8 * i - 12, corner_y=i - 3, res=1e4, module=i) for i in (0, 2, 1)]
)


def poisson(*axes: Axis, dtype: npt.DTypeLike = "uint16", geometry: DetectorGeometry | None = None) -> tuple[npt.NDArray, Spec]:
    """Counts around 20 and what they mean."""
    spec = Spec(axes, np.dtype(dtype), quantity="intensity", units="counts", geometry=geometry)
    return RNG.poisson(20, spec.shape).astype(spec.dtype), spec


def answers() -> tuple[npt.NDArray, Spec]:
    """Probabilities of three classes, for each frame and pixel of a row; of one item none."""
    axes = (FRAME, Axis("class", 3, "spectral"), X)
    scores = np.exp(2 * RNG.normal(size=tuple(axis.size for axis in axes)))
    values = (scores / scores.sum(1, keepdims=True)).astype(np.float32)
    values[1, :, 2] = np.nan
    return values, Spec(axes, values.dtype, quantity="probability", classes=("a", "b", "c"))


DATA: Final = {
    "frames": poisson(FRAME, Y, X, geometry=DETECTOR),
    "colours": poisson(Y, X, COLOUR, FRAME, dtype="uint8"),
    "diffraction": poisson(Axis("scan_y", 3, "spatial"), Axis("scan_x", 4, "spatial"), KY, KX, dtype="float64"),
    "spectra": poisson(ENERGY, Y, X, dtype="float32"),
    "complex": poisson(FRAME, Y, X, dtype="complex64"),
    "answers": answers(),
    "squares": poisson(Axis("frame", 5, "temporal"), Axis("y", 61, "spatial", units="nm"), Axis("x", 61, "spatial", units="nm")),
    "panels": poisson(FRAME, Y, X, geometry=PANELS),
    "modules": poisson(FRAME, Axis("module", 3), Axis("y", 6, "spatial"), Axis("x", 7, "spatial"), geometry=MODULES),
    "assembled": poisson(FRAME, *(Axis(name, n, "spatial") for name, n in zip("yx", Plane.of(PANELS).shape))),
}
"""Values and spec by name; items are not always last, and there are channels, float64 and complex values among them."""

RISING: Final = np.sort(np.random.default_rng(1).random((3, 6)), axis=1)
MEMBERS: Final = np.random.default_rng(2).random((3, 15)) * 40
SPOTS: Final = RNG.random((11, 14)) < 0.15


def seeded(network: Callable[..., torch.nn.Module], **parameters: int) -> dict[str, torch.Tensor]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return network(**parameters).state_dict()


IMAGE_RESNET: Final = {"n_classes": 2}
SPECTRUM_RESNET: Final = {"n_classes": 3, "length": 15}
UNET: Final = {"n_classes": 3, "width": 4, "depth": 2}
HIT_NETWORK: Final = {"size": 61}


@dataclass(frozen=True)
class Case:
    """An operator on data of `DATA`."""

    operator: Operator
    data: str

    @property
    def values(self) -> npt.NDArray:
        return DATA[self.data][0]

    @property
    def spec(self) -> Spec:
        return DATA[self.data][1]

    def __str__(self) -> str:
        return f"{type(self.operator).__name__}-{self.data}"


CASES: Final = [
    Case(pc.AlignLines(), "frames"),
    Case(pc.Anscombe(), "frames"),
    Case(pc.Argmax(), "spectra"),
    Case(pc.Assemble(), "panels"),
    Case(pc.Assemble(fill=3), "panels"),
    Case(pc.Bin(2), "frames"),
    Case(pc.Bin((2, 3), "mean"), "colours"),
    Case(pc.Bin((3, 2), "max"), "frames"),
    Case(pc.Cast("float64"), "frames"),
    Case(pc.ClassThreshold("b", 0.2), "answers"),
    Case(pc.Classify("resnet_small", IMAGE_RESNET, seeded(ImageResNet, **IMAGE_RESNET), classes=("miss", "hit"), embedding=True), "frames"),
    Case(pc.Classify("hit_network", HIT_NETWORK, seeded(HitNetwork, **HIT_NETWORK), classes=("miss", "hit")), "squares"),
    Case(pc.Classify("unet", UNET, seeded(UNet, **UNET), classes=("a", "b", "c"), embedding=True), "frames"),
    Case(pc.Clip(15, 25), "frames"),
    Case(pc.CommonMode((11, 7)), "frames"),
    Case(pc.CommonMode([[0, 5, 0, 14], [6, 11, 2, 14]], statistic="mode", below=25, mask=SPOTS), "colours"),
    Case(pc.Crop((5, 7)), "colours"),
    Case(pc.Embedding("resnet_small", IMAGE_RESNET, seeded(ImageResNet, **IMAGE_RESNET)), "frames"),
    Case(pc.Embedding("unet", UNET, seeded(UNet, **UNET)), "frames"),
    Case(pc.Crop(6, centre="beam"), "frames"),
    Case(pc.Crop((9, 10)), "panels"),
    Case(pc.Disassemble(PANELS), "assembled"),
    Case(pc.Disassemble(PANELS, (12, 14), fill=0), "assembled"),
    Case(pc.FCLS(MEMBERS), "spectra"),
    Case(pc.Flatfield(RNG.random((11, 14)) + 0.5, dark=np.ones((11, 14))), "frames"),
    Case(pc.FlattenLines(2, SPOTS), "colours"),
    Case(pc.FlattenPlane(), "diffraction"),
    Case(pc.FlattenPlane(2, SPOTS), "frames"),
    Case(pc.GaussianBlur(1.0), "frames"),
    Case(pc.GaussianBlur(3.0), "colours"),
    Case(pc.GaussianBlur(0.7), "diffraction"),
    Case(pc.GaussianBlur(1.0), "complex"),
    Case(pc.GradCAM("resnet_small", IMAGE_RESNET, seeded(ImageResNet, **IMAGE_RESNET), classes=("miss", "hit")), "frames"),
    Case(pc.HitFeatures(pc.PeakFinder8(22, min_snr=1.5, max_peaks=20), weak_snr=1.0), "frames"),
    Case(
        pc.HitFeatures(
            pc.PeakFinder8(20, min_snr=1, min_pixels=1, max_peaks=9),
            pc.RadialSNR()
            | pc.Bin(2, "max")
            | pc.Classify("resnet_small", IMAGE_RESNET, seeded(ImageResNet, **IMAGE_RESNET), classes=("miss", "hit")),
        ),
        "frames",
    ),
    Case(pc.ImageFeatures(), "frames"),
    Case(pc.ImageFeatures(("quantiles", "lbp")), "colours"),
    Case(pc.InverseAnscombe(), "frames"),
    Case(pc.IsotonicScale(RISING**0.5, RISING), "answers"),
    Case(pc.Log1p(), "spectra"),
    Case(pc.LogisticModel(np.linspace(-1, 1, 15), 0.3, ("a", "b")), "spectra"),
    Case(pc.Majority(3), "frames"),
    Case(pc.Majority(5), "colours"),
    Case(pc.MaskPixels(SPOTS), "frames"),
    Case(pc.MaskPixels(SPOTS, fill=-1), "frames"),
    Case(pc.MaskPixels(SPOTS, fill=float("nan")), "frames"),
    Case(pc.Median(3), "frames"),
    Case(pc.Median(5), "colours"),
    Case(pc.NNLS(MEMBERS), "spectra"),
    Case(pc.NNLS(np.random.default_rng(3).random((4, 9, 8))), "diffraction"),
    Case(pc.Network("resnet_spectrum", SPECTRUM_RESNET, seeded(SpectrumResNet, **SPECTRUM_RESNET)), "spectra"),
    Case(pc.Pad(width=2, fill=1), "colours"),
    Case(pc.PeakCountRule(19, 22), "frames"),
    Case(pc.PeakFinder8(22, min_snr=1.5, max_peaks=20), "frames"),
    Case(pc.PeakFinder8(20, min_snr=1, min_pixels=1, centre="middle", mask=SPOTS, fast=True), "colours"),
    Case(pc.PeakFinder8(20, min_snr=1, panels=(3, 4), centre=(2, 3), min_radius=1, max_radius=7.5), "diffraction"),
    Case(pc.PercentileNormalize(), "frames"),
    Case(pc.PowerSpectrum(), "frames"),
    Case(pc.PowerSpectrum(), "complex"),
    Case(pc.RadialMedian(centre="middle"), "colours"),
    Case(pc.RadialProfile(), "frames"),
    Case(pc.RadialProfile(), "panels"),
    Case(pc.RadialProfile("median", mask=SPOTS), "frames"),
    Case(pc.RadialProfile("sd", centre=(3, 4)), "diffraction"),
    Case(pc.RadialSNR(mask=SPOTS), "frames"),
    Case(pc.RadialSNR(mask=SPOTS), "panels"),
    Case(pc.RadialSNR((-9, 9), boxes=(1, 3)), "frames"),
    Case(pc.RadialSNR(geometry=PANELS), "frames"),
    Case(pc.Resize((7, 20)), "colours"),
    Case(pc.Select(y=(-1, 2), frame=(0.1, 0.3)), "frames"),
    Case(pc.Shift(RNG.normal(0, 2, (5, 2))), "frames"),
    Case(pc.Shift(RNG.normal(0, 2, (5, 2)), fill=0), "complex"),
    Case(pc.Sobel(), "frames"),
    Case(pc.Sobel(), "colours"),
    Case(pc.Sqrt(), "diffraction"),
    Case(pc.StackModules(), "modules"),
    Case(pc.SubtractBackground(), "frames"),
    Case(pc.SubtractBackground(), "panels"),
    Case(pc.SubtractBackground(pc.GaussianBlur(1.5)), "frames"),
    Case(pc.SubtractDark(np.full((11, 14), 3)), "frames"),
    Case(pc.SumMask(SPOTS), "frames"),
    Case(pc.SumMask(RNG.random((9, 8)), axes=("ky", "kx")), "diffraction"),
    Case(pc.SureClass((0.3, 0.5, 0.2)), "answers"),
    Case(pc.TemperatureScale(1.7), "answers"),
    Case(pc.Threshold(20), "frames"),
    Case(pc.ToPhotons(7, 0.7), "frames"),
    Case(pc.UnitLength(), "spectra"),
    Case(pc.UnitLength(), "colours"),
    Case(pc.UCLS(MEMBERS), "spectra"),
    Case(pc.VirtualDetector(RNG.random((2, 15))), "spectra"),
    Case(pc.VirtualDetector([SPOTS, ~SPOTS]), "colours"),
    Case(pc.Windows((3, 4), step=2), "frames"),
    Case(pc.Windows(5), "colours"),
    Case(pc.ZScore(), "spectra"),
]
