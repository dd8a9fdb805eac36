"""The layers and operations of Keras by name, as far as what they do is known here."""

from __future__ import annotations

from typing import Any


def keras_kind(operation: Any) -> str:
    """Returns the class name of a layer or operation of Keras, and an empty text for any other: names may clash."""
    return type(operation).__name__ if type(operation).__module__.split(".")[0] == "keras" else ""


def _named(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _ranks(*stems: str) -> frozenset[str]:
    """Returns the names of layers that exist for one, two and three axes of space."""
    return frozenset(f"{stem}{rank}D" for stem in stems for rank in (1, 2, 3))


DIRECT_CONVOLUTIONS = _ranks("Conv") | _named("DepthwiseConv1D DepthwiseConv2D")
SEPARABLE_CONVOLUTIONS = _named("SeparableConv1D SeparableConv2D")
TRANSPOSED_CONVOLUTIONS = frozenset(f"Conv{rank}DTranspose" for rank in (1, 2, 3))
CONVOLUTIONS = DIRECT_CONVOLUTIONS | SEPARABLE_CONVOLUTIONS | TRANSPOSED_CONVOLUTIONS
POOLING = _ranks("MaxPooling", "AveragePooling")
ADAPTIVE_POOLING = _ranks("AdaptiveMaxPooling", "AdaptiveAveragePooling")
GLOBAL_POOLING = _ranks("GlobalMaxPooling", "GlobalAveragePooling")
ZERO_PADDING, CROPPING, UP_SAMPLING = _ranks("ZeroPadding"), _ranks("Cropping"), _ranks("UpSampling")
RESIZING = _named("Resizing Resize")

# Layers and operations that leave every value at its place.
MERGES = _named("Add Subtract Multiply Average Maximum Minimum Divide TrueDivide FloorDivide")
ACTIVATIONS = _named("Activation ReLU LeakyReLU PReLU ELU LayerScale")
TRAINING_ONLY = _ranks("SpatialDropout") | _named(
    "Dropout GaussianDropout GaussianNoise AlphaDropout ActivityRegularization StochasticDepth RandomBrightness "
    "RandomColorDegeneration RandomColorJitter RandomContrast RandomFlip RandomGaussianBlur RandomGrayscale RandomHue "
    "RandomInvert RandomPerspective RandomPosterization RandomRotation RandomSaturation RandomSharpness RandomShear "
    "RandomTranslation RandomZoom RandomErasing RandomElasticTransform AugMix RandAugment MixUp CutMix"
)
POINTWISE_LAYERS = (
    MERGES
    | ACTIVATIONS
    | TRAINING_ONLY
    | _named(
        "InputLayer BatchNormalization Identity Rescaling Normalization Masking Dense Solarization CustomScaleLayer"
    )
)
UNARY_OPERATIONS = _named(
    "Negative Absolute Abs Power Square Sqrt Rsqrt Exp Expm1 Log Log1p Clip Relu Relu6 Sigmoid Silu Tanh Softplus "
    "Softsign HardSigmoid HardSilu HardTanh Gelu Elu Selu Celu LeakyRelu LogSigmoid Sign Sin Cos Reciprocal Round "
    "Floor Ceil"
)
POINTWISE_OPERATIONS = MERGES | UNARY_OPERATIONS | _named("Where Cast Identity StopGradient")

# Layers and operations whose every answer depends on all places.
WHOLE_LAYERS = GLOBAL_POOLING | _named(
    "Flatten Attention AdditiveAttention MultiHeadAttention GroupedQueryAttention GroupNormalization LSTM GRU "
    "SimpleRNN Bidirectional"
)
# They work along `axis`: only where that is the channels they leave space alone.
NORMALISATIONS_ALONG_AXIS = _named("LayerNormalization RMSNormalization UnitNormalization Softmax LogSoftmax")
REDUCTIONS = _named("Mean Max Min Sum Var Std Prod Amax Amin Logsumexp Norm Any All")
REARRANGING = _named("Concatenate Flip Roll Stack Split")

# They move values, or do nothing at inference: no arithmetic.
FREE = (
    TRAINING_ONLY
    | REARRANGING
    | ZERO_PADDING
    | CROPPING
    | UP_SAMPLING
    | _named(
        "InputLayer Flatten Reshape Permute Identity CenterCrop GetItem Transpose Squeeze ExpandDims Cast StopGradient "
        "Masking RepeatVector"
    )
)
