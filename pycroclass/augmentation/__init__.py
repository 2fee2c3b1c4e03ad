"""Items changed at random while a network learns from them, on the device where it learns."""

from pycroclass.augmentation.chance import Chance as Chance
from pycroclass.augmentation.changes import augmented as augmented
from pycroclass.augmentation.changes import mixed as mixed
from pycroclass.augmentation.settings import PRESETS as PRESETS
from pycroclass.augmentation.settings import Augmentation as Augmentation
