"""The attention mask of the paper as one Keras layer. Needs nothing but ``keras``."""

import contextlib
import contextvars

import keras
from keras import ops

MASK_ACTIVATIONS = ("sigmoid", "softmax", "linear")

_FUNCTIONS = contextvars.ContextVar("functions of the scores", default=())


@contextlib.contextmanager
def intercept_scores(function):
    """Within this context, masks multiply by `function(layer, inputs, scores)` for their scores.

    Args:
        function: Takes the layer, its inputs and its scores, tensors of the backend; returns the
            scores to use. It sees every call of every mask that runs eagerly, wherever in a model
            the mask is. A function that was compiled before (`predict`, `tf.function`, `jax.jit`)
            ignores it, and one that is compiled within keeps it. Of nested contexts the inner one
            comes first.
    """
    token = _FUNCTIONS.set((function, *_FUNCTIONS.get()))
    try:
        yield
    finally:
        _FUNCTIONS.reset(token)


@keras.saving.register_keras_serializable(package="mnist_attention")
class AttentionMask1x1(keras.layers.Layer):
    """Multiplies a feature map by a mask that a 1x1 convolution computes from that map.

    With ``x[b, i, j, :]`` the feature vector at position ``(i, j)`` of image ``b``:

        scores[b, i, j, :]  = activation(x[b, i, j, :] @ kernel + bias)
        outputs[b, i, j, :] = x[b, i, j, :] * scores[b, i, j, :]

    This is Figure 3 of the paper: "the attention mask is first extracted from original
    feature map with 1x1 convolutional filters", then multiplied elementwise with the map.
    The paper leaves open how many channels the mask has and which function bounds it. With
    the defaults, one channel and a sigmoid, the layer is the spatial squeeze-and-excitation
    block of Roy et al. (2018), Section 2.2.

    Args:
        mask_channels: 1 for one mask shared by all feature channels (it says *where* to
            look), or `None` for one mask per feature channel (it gates each feature).
        activation: `"sigmoid"` (each score in (0, 1), independent of the others),
            `"softmax"` (over the positions of one image: the scores of each mask channel
            sum to one) or `"linear"` (unbounded).
        use_bias: Whether the 1x1 convolution adds a bias.
        kernel_initializer: Initializer of the kernel, shape `(1, 1, channels, mask_channels)`.
        bias_initializer: Initializer of the bias, shape `(mask_channels,)`.
        kernel_regularizer, bias_regularizer: Regularizers, or `None`.
        kernel_constraint, bias_constraint: Constraints, or `None`.
        **kwargs: `name`, `dtype` and the other arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: Feature map of shape `(batch, height, width, channels)`.
        return_attention_scores: Whether to return the mask as well.

    Input shape:
        `(batch, height, width, channels)`, channels last.

    Output shape:
        The input shape. With `return_attention_scores=True` a pair: outputs of the input
        shape, scores of shape `(batch, height, width, mask_channels)`.

    Raises:
        ValueError: for another `mask_channels` or `activation`, or an input whose rank is not 4
            or whose number of channels is unknown.

    Example:

    >>> x = keras.random.normal((2, 28, 28, 6))
    >>> outputs, scores = AttentionMask1x1()(x, return_attention_scores=True)
    >>> outputs.shape, scores.shape
    ((2, 28, 28, 6), (2, 28, 28, 1))

    Reference:
        - The paper, Section 2.2 and Figure 3.
        - Roy, Navab, Wachinger: Concurrent Spatial and Channel Squeeze & Excitation in Fully
          Convolutional Networks, 2018 ([arXiv:1803.02579](https://arxiv.org/abs/1803.02579)).
    """

    def __init__(
        self,
        mask_channels: int | None = 1,
        activation: str = "sigmoid",
        use_bias: bool = True,
        kernel_initializer="glorot_uniform",
        bias_initializer="zeros",
        kernel_regularizer=None,
        bias_regularizer=None,
        kernel_constraint=None,
        bias_constraint=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if mask_channels is not None and (mask_channels != 1 or isinstance(mask_channels, bool)):
            raise ValueError(
                "Expected mask_channels to be 1 (one mask for all features) or None "
                f"(one mask per feature). Received: mask_channels={mask_channels!r}"
            )
        if activation not in MASK_ACTIVATIONS:
            raise ValueError(
                f"Expected activation to be one of {MASK_ACTIVATIONS}. "
                f"Received: activation={activation!r}"
            )
        self.mask_channels = mask_channels
        self.activation = activation
        self.use_bias = use_bias
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.bias_regularizer = keras.regularizers.get(bias_regularizer)
        self.kernel_constraint = keras.constraints.get(kernel_constraint)
        self.bias_constraint = keras.constraints.get(bias_constraint)
        self.input_spec = keras.layers.InputSpec(ndim=4)

    def build(self, input_shape):
        channels = input_shape[-1]
        if channels is None:
            raise ValueError(
                "Expected an input whose last axis, the channels, has a known size. "
                f"Received: input_shape={tuple(input_shape)}"
            )
        self.input_spec = keras.layers.InputSpec(ndim=4, axes={-1: channels})
        width = self.mask_channels or channels
        self.kernel = self._add("kernel", (1, 1, channels, width))
        self.bias = self._add("bias", (width,)) if self.use_bias else None

    def _add(self, name, shape):
        options = ("initializer", "regularizer", "constraint")
        return self.add_weight(
            name=name, shape=shape, **{key: getattr(self, f"{name}_{key}") for key in options}
        )

    def call(self, inputs, return_attention_scores: bool = False):
        scores = self.convolution_op(inputs, self.kernel)
        if self.bias is not None:
            scores = ops.add(scores, self.bias)
        if self.activation == "sigmoid":
            scores = ops.sigmoid(scores)
        elif self.activation == "softmax":
            # Half precision is too coarse to sum many small numbers.
            scores = ops.cast(scores, keras.backend.result_type(self.compute_dtype, "float32"))
            # ops.softmax over two axes fails on TensorFlow where the batch size is unknown.
            scores = ops.exp(scores - ops.max(scores, axis=(1, 2), keepdims=True))
            scores = scores / ops.sum(scores, axis=(1, 2), keepdims=True)
            scores = ops.cast(scores, self.compute_dtype)
        for function in _FUNCTIONS.get():
            scores = function(self, inputs, scores)
        outputs = ops.multiply(inputs, scores)
        return (outputs, scores) if return_attention_scores else outputs

    def convolution_op(self, inputs, kernel):
        """The 1x1 convolution, to be overridden like that of `keras.layers.Conv2D`."""
        return ops.conv(inputs, kernel, data_format="channels_last")

    def compute_output_shape(self, input_shape):
        return tuple(input_shape)

    def compute_output_spec(self, inputs, return_attention_scores: bool = False):
        outputs = keras.KerasTensor(inputs.shape, dtype=self.compute_dtype)
        if not return_attention_scores:
            return outputs
        scores_shape = (*inputs.shape[:-1], self.mask_channels or inputs.shape[-1])
        return outputs, keras.KerasTensor(scores_shape, dtype=self.compute_dtype)

    def get_config(self):
        return {
            **super().get_config(),
            "mask_channels": self.mask_channels,
            "activation": self.activation,
            "use_bias": self.use_bias,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "bias_initializer": keras.initializers.serialize(self.bias_initializer),
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
            "bias_regularizer": keras.regularizers.serialize(self.bias_regularizer),
            "kernel_constraint": keras.constraints.serialize(self.kernel_constraint),
            "bias_constraint": keras.constraints.serialize(self.bias_constraint),
        }
