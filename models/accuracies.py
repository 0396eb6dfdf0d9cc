"""What networks were published with: accuracy on ImageNet's validation images, the first answer.

As Keras Applications and the MobileNet papers' repositories tell of the weights that Keras has.
"""

from __future__ import annotations

_IMAGENET: dict[str, float] = {
    "VGG16": 0.713,
    "VGG19": 0.713,
    "ResNet50": 0.749,
    "ResNet101": 0.764,
    "ResNet152": 0.766,
    "ResNet50V2": 0.760,
    "ResNet101V2": 0.772,
    "ResNet152V2": 0.780,
    "InceptionV3": 0.779,
    "InceptionResNetV2": 0.803,
    "Xception": 0.790,
    "DenseNet121": 0.750,
    "DenseNet169": 0.762,
    "DenseNet201": 0.773,
    "MobileNet": 0.704,
    "MobileNet-0.75": 0.684,
    "MobileNet-0.5": 0.637,
    "MobileNet-0.25": 0.506,
    "MobileNetV2": 0.713,
    "MobileNetV2-0.35": 0.603,
    "MobileNetV2-0.5": 0.654,
    "MobileNetV2-0.75": 0.698,
    "MobileNetV2-1.3": 0.744,
    "MobileNetV2-1.4": 0.750,
    "MobileNetV3Small": 0.681,
    "MobileNetV3Large": 0.756,
    "NASNetMobile": 0.744,
    "NASNetLarge": 0.825,
    "EfficientNetB0": 0.771,
    "EfficientNetB1": 0.791,
    "EfficientNetB2": 0.801,
    "EfficientNetB3": 0.816,
    "EfficientNetB4": 0.829,
    "EfficientNetB5": 0.836,
    "EfficientNetB6": 0.840,
    "EfficientNetB7": 0.843,
    "EfficientNetV2B0": 0.787,
    "EfficientNetV2B1": 0.798,
    "EfficientNetV2B2": 0.805,
    "EfficientNetV2B3": 0.820,
    "EfficientNetV2S": 0.839,
    "EfficientNetV2M": 0.853,
    "EfficientNetV2L": 0.857,
    "ConvNeXtTiny": 0.813,
    "ConvNeXtSmall": 0.823,
    "ConvNeXtBase": 0.853,
    "ConvNeXtLarge": 0.863,
    "ConvNeXtXLarge": 0.867,
}


def published(backbone: str) -> float | None:
    """That of the network of Keras Applications called `backbone`; None where there is none."""
    return _IMAGENET.get(backbone)
