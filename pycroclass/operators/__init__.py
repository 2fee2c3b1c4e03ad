"""Everything that maps blocks of items to blocks of items; one idea per module."""

from pycroclass.operators.abundances import FCLS, NNLS, UCLS
from pycroclass.operators.assemble import Assemble, Disassemble, StackModules
from pycroclass.operators.background import RadialMedian, SubtractBackground
from pycroclass.operators.bin import Bin
from pycroclass.operators.calibrate import IsotonicScale, TemperatureScale
from pycroclass.operators.cast import Cast
from pycroclass.operators.common_mode import CommonMode
from pycroclass.operators.crop import Crop, Pad
from pycroclass.operators.decide import ClassThreshold, SureClass
from pycroclass.operators.detector import Flatfield, SubtractDark
from pycroclass.operators.flatten import AlignLines, FlattenLines, FlattenPlane
from pycroclass.operators.gaussian_blur import GaussianBlur
from pycroclass.operators.grad_cam import GradCAM
from pycroclass.operators.hit_features import HitFeatures
from pycroclass.operators.image_features import ImageFeatures
from pycroclass.operators.label import Argmax, Threshold
from pycroclass.operators.logistic_model import LogisticModel
from pycroclass.operators.majority import Majority
from pycroclass.operators.mask_pixels import MaskPixels
from pycroclass.operators.median import Median
from pycroclass.operators.network import Classify, Embedding, Network
from pycroclass.operators.normalize import PercentileNormalize, UnitLength, ZScore
from pycroclass.operators.peak_count_rule import PeakCountRule
from pycroclass.operators.peak_finder import PeakFinder8
from pycroclass.operators.photons import ToPhotons
from pycroclass.operators.pointwise import Anscombe, Clip, InverseAnscombe, Log1p, Sqrt
from pycroclass.operators.power_spectrum import PowerSpectrum
from pycroclass.operators.radial_profile import RadialProfile
from pycroclass.operators.radial_snr import RadialSNR
from pycroclass.operators.resize import Resize
from pycroclass.operators.select import Select
from pycroclass.operators.shift import Shift
from pycroclass.operators.sobel import Sobel
from pycroclass.operators.sum_mask import SumMask, VirtualDetector
from pycroclass.operators.windows import Windows

__all__ = [
    "AlignLines",
    "FCLS",
    "NNLS",
    "UCLS",
    "Anscombe",
    "Argmax",
    "Assemble",
    "Bin",
    "Cast",
    "ClassThreshold",
    "Classify",
    "Clip",
    "CommonMode",
    "Crop",
    "Disassemble",
    "Embedding",
    "Flatfield",
    "FlattenLines",
    "FlattenPlane",
    "GaussianBlur",
    "GradCAM",
    "HitFeatures",
    "ImageFeatures",
    "InverseAnscombe",
    "IsotonicScale",
    "Log1p",
    "LogisticModel",
    "Majority",
    "MaskPixels",
    "Median",
    "Network",
    "Pad",
    "PeakCountRule",
    "PeakFinder8",
    "PercentileNormalize",
    "PowerSpectrum",
    "RadialMedian",
    "RadialProfile",
    "RadialSNR",
    "Resize",
    "Select",
    "Shift",
    "Sobel",
    "Sqrt",
    "StackModules",
    "SubtractBackground",
    "SubtractDark",
    "SumMask",
    "SureClass",
    "TemperatureScale",
    "Threshold",
    "ToPhotons",
    "UnitLength",
    "VirtualDetector",
    "Windows",
    "ZScore",
]
