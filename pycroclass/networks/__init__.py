"""Networks by registered name; importing this makes the built-in ones known."""

from pycroclass.networks.classifier import Classifier as Classifier
from pycroclass.networks.classifier import ImageClassifier as ImageClassifier
from pycroclass.networks.classifier import PixelClassifier as PixelClassifier
from pycroclass.networks.densenet import DenseNet as DenseNet
from pycroclass.networks.hit import HitNetwork as HitNetwork
from pycroclass.networks.registry import Architecture as Architecture
from pycroclass.networks.registry import architecture as architecture
from pycroclass.networks.registry import architectures as architectures
from pycroclass.networks.registry import network as network
from pycroclass.networks.resnet import ImageResNet as ImageResNet
from pycroclass.networks.resnet import SpectrumResNet as SpectrumResNet
from pycroclass.networks.resnet_deep import ResNet as ResNet
from pycroclass.networks.unet import UNet as UNet
from pycroclass.networks.vgg import VGG as VGG
