"""What is measured; Keras must be told where the ImageNet weights are before it is imported."""

import os

from models.quiet import import_tensorflow
from tests.conftest import SHARED

os.environ.setdefault("KERAS_HOME", str(SHARED / "keras_home"))
import_tensorflow()
