#!/usr/bin/env python3
"""Golden data for every operation of the engine: small networks, losses and optimisers, evaluated in float64.

Each network file holds the network, its parameters, images and a gradient of the logits; and, as PyTorch computes them
in float64, the logits, the gradient of every parameter, the batch statistics, and the logits of an inference with other
statistics. `float32_error` says how far PyTorch's own float32 is from that.

usage: golden_ops.py [NAME ...]   (all files when no name is given)
"""
import sys

import numpy as np
import torch

import golden_training
from builder import Builder
from golden import numbers, relative_error, write
from network import NORM_EPSILON, forward, gradients

SEEDS = 4000  # tried for one case before giving up on a comfortable distance from every jump


def stem_gray(g):
    """Dense 3x3, stride 1, one channel in; odd image."""
    return _one(Builder(g, 7, 1), 2, lambda b: b.layer("dense", 5, kernel=3))


def stem_colour_stride_2(g):
    """Dense 3x3, stride 2 on an odd image, three channels in, 17 out."""
    return _one(Builder(g, 7, 3), 3, lambda b: b.layer("dense", 17, kernel=3, stride=2))


def stem_even_stride_2(g):
    """Dense 3x3, stride 2 on an even image (the last row is never a centre)."""
    return _one(Builder(g, 6, 3), 2, lambda b: b.layer("dense", 5, kernel=3, stride=2))


def dense_inside(g):
    """A depthwise layer on the image, then dense ones fed by layers: 3x3 with stride 2 (linear), 5x5."""

    def layers(b):
        b.layer("depthwise", kernel=3)
        b.layer("dense", 6, kernel=3, stride=2, activation="linear")
        b.layer("dense", 5, kernel=5)

    return _one(Builder(g, 7, 3), 2, layers)


def pointwise(g):
    """1x1 convolutions 5 -> 17 (ReLU6), 17 -> 24 (linear) and 24 -> 5."""

    def layers(b):
        b.layer("dense", 5, kernel=3, stride=2)
        b.layer("pointwise", 17)
        b.layer("pointwise", 24, activation="linear")
        b.layer("pointwise", 5)

    return _one(Builder(g, 9, 1), 3, layers)


def depthwise_3(g):
    """Depthwise 3x3, stride 1 then stride 2, 17 channels."""
    return _depthwise(g, size=7, channels=17, kernel=3)


def depthwise_5(g):
    """Depthwise 5x5, stride 1 then stride 2, 24 channels."""
    return _depthwise(g, size=5, channels=24, kernel=5)


def depthwise_7(g):
    """Depthwise 7x7, stride 1 then stride 2, 5 channels; the kernel is as large as the image."""
    return _depthwise(g, size=7, channels=5, kernel=7)


def depthwise_even(g):
    """Strides of 2 on even sizes: 8 -> 4 -> 2 -> 1, kernels 3, 5, 7."""

    def layers(b):
        b.layer("dense", 20, kernel=3)
        for kernel in (3, 5, 7):
            b.layer("depthwise", kernel=kernel, stride=2)

    return _one(Builder(g, 8, 1), 3, layers)


def one_pixel(g):
    """Images of one pixel: every kernel but its centre lies in the padding, a channel's statistics see 3 numbers."""

    def layers(b):
        b.layer("dense", 17, kernel=3, stride=2)
        b.layer("depthwise", kernel=7, stride=2)
        b.layer("depthwise", kernel=3)
        b.layer("pointwise", 5, activation="linear")

    return _one(Builder(g, 1, 3), 3, layers)


def one_pixel_alone(g):
    """One image of one pixel: every variance is zero, nothing but the norms' shifts and the head can learn."""

    def layers(b):
        b.layer("dense", 5, kernel=3)
        b.layer("depthwise", kernel=5)
        b.layer("pointwise", 7)

    return _one(Builder(g, 1, 3), 1, layers)


def kernel_transform(g):
    """Stored 7x7 kernels used as 7, 5 and 3, stride 1 and 2."""

    def layers(b):
        b.layer("dense", 5, kernel=3)
        b.layer("depthwise", kernel=5, stored=7)
        b.layer("depthwise", kernel=3, stored=7, stride=2)
        b.layer("depthwise", kernel=3, stored=5)

    return _one(Builder(g, 7, 1), 2, layers)


def residual(g):
    """Two residual blocks on one trunk, so that a linear output feeds a layer and a sum; a single image."""

    def layers(b):
        b.layer("dense", 8, kernel=3, stride=2)
        trunk = b.layer("pointwise", 5, activation="linear")
        trunk = b.bottleneck(5, expand=3, kernel=3, residual=trunk)
        b.bottleneck(5, expand=2, kernel=5, residual=trunk)
        b.layer("pointwise", 6)

    return _one(Builder(g, 9, 3), 1, layers)


def subnet_view(g):
    """A narrow subnet of wider stored weights: row strides beyond the used columns, kernels transformed."""

    def layers(b):
        b.layer("dense", 5, kernel=3)
        trunk = b.layer("pointwise", 6, activation="linear")
        b.bottleneck(6, expand=2, kernel=3, stored=5, residual=trunk)
        b.layer("pointwise", 7)

    return _one(Builder(g, 5, 3, wider=4), 2, layers)


def many_images(g):
    """21 small images: more than one chunk of the batch, and the chunks are uneven."""

    def layers(b):
        b.layer("dense", 5, kernel=3)
        trunk = b.layer("pointwise", 6, activation="linear")
        b.bottleneck(6, expand=3, kernel=3, residual=trunk)
        b.bottleneck(7, expand=2, kernel=5, stride=2)
        b.layer("pointwise", 9)

    return _one(Builder(g, 4, 1), 21, layers)


def wide(g):
    """67 channels: several whole vectors and a rest, at every kind of layer but the dense one."""

    def layers(b):
        b.layer("dense", 3, kernel=3, stride=2)
        b.layer("pointwise", 67)
        b.layer("depthwise", kernel=3)
        b.layer("pointwise", 5, activation="linear")
        b.layer("pointwise", 5)

    return _one(Builder(g, 9, 1), 3, layers)


def weight_quantization(g):
    """Weights of 2, 4, 6 and 8 bits in dense, pointwise, depthwise and linear layers; some beyond their threshold."""

    def layers(b):
        b.layer("dense", 5, kernel=3, weight_bits=8)
        b.layer("pointwise", 12, weight_bits=2)
        b.layer("depthwise", kernel=3, stride=2, weight_bits=4)
        b.layer("depthwise", kernel=5, weight_bits=6)
        b.layer("pointwise", 7, activation="linear", weight_bits=6)
        b.layer("pointwise", 5, weight_bits=4)

    return _one(Builder(g, 5, 3), 2, layers, weight_bits=4)


def transformed_weight_quantization(g):
    """A kernel that is transformed first and quantized then."""

    def layers(b):
        b.layer("dense", 5, kernel=3)
        b.layer("depthwise", kernel=5, stored=7, weight_bits=4, reach=0.3)
        b.layer("depthwise", kernel=3, stored=5, stride=2, weight_bits=2, reach=0.3)

    return _one(Builder(g, 5, 1), 2, layers)


def activation_quantization(g):
    """Unsigned activations of 2, 4, 6 and 8 bits before every kind of layer, some saturated; a signed image."""

    def layers(b):
        b.layer("dense", 5, kernel=3, input_quantizer=b.range_of(6, True, 0.8))
        b.layer("pointwise", 9, input_quantizer=b.range_of(8, False, 4.5))
        b.layer("depthwise", kernel=3, stride=2, input_quantizer=b.range_of(2, False, 5.1))
        b.layer("pointwise", 5, input_quantizer=b.range_of(4, False, 3.7))

    b = Builder(g, 5, 3)
    return _one(b, 2, layers, input_quantizer=b.range_of(6, False, 3.3))


def linear_quantization(g):
    """Signed quantizers of a linear layer's output and of the residual sum; pooled features quantized."""

    def layers(b):
        b.layer("dense", 6, kernel=3)
        trunk = b.layer("pointwise", 5, activation="linear", sum_quantizer=b.range_of(6, True, 1.9))
        b.layer("pointwise", 10)
        b.layer("pointwise", 5, activation="linear", residual=trunk, output_quantizer=b.range_of(4, True, 1.3),
                sum_quantizer=b.range_of(4, True, 2.1))
        b.layer("pointwise", 5, activation="linear", output_quantizer=b.range_of(8, True, 1.7))

    b = Builder(g, 4, 1)
    return _one(b, 2, layers, pooled_quantizer=b.range_of(4, True, 0.9))


def everything(g):
    """A subnet of a supernet, all quantizers on, elastic kernel, stride 2 and a residual block."""

    def layers(b):
        b.layer("dense", 5, kernel=3, weight_bits=8)
        b.layer("pointwise", 10, weight_bits=6, input_quantizer=b.range_of(6, False, 4.1))
        b.layer("depthwise", kernel=3, stored=5, stride=2, weight_bits=4, reach=0.4,
                input_quantizer=b.range_of(4, False, 4.7))
        trunk = b.layer("pointwise", 6, activation="linear", weight_bits=6, input_quantizer=b.range_of(6, False, 5.3),
                        sum_quantizer=b.range_of(6, True, 2.3))
        b.layer("pointwise", 9, weight_bits=4, input_quantizer=b.range_of(8, True, 1.9))
        b.layer("depthwise", kernel=3, weight_bits=8, input_quantizer=b.range_of(2, False, 3.9))
        b.layer("pointwise", 6, activation="linear", weight_bits=2, input_quantizer=b.range_of(4, False, 3.1),
                residual=trunk, output_quantizer=b.range_of(8, True, 1.8), sum_quantizer=b.range_of(6, True, 1.6))
        b.layer("pointwise", 8, input_quantizer=b.range_of(6, True, 2.2))

    b = Builder(g, 5, 3, wider=2)
    return _one(b, 2, layers, input_quantizer=b.range_of(6, False, 3.6), pooled_quantizer=b.range_of(8, False, 1.7),
                weight_bits=8)


def _depthwise(generator, size, channels, kernel):
    def layers(b):
        b.layer("dense", channels, kernel=3)
        b.layer("depthwise", kernel=kernel)
        b.layer("depthwise", kernel=kernel, stride=2)

    return _one(Builder(generator, size, 1), 2, layers)


def _one(builder, batch, layers, **head):
    """Closes the network behind `layers` with a head of 4 classes.

    The last layer should not be linear: the mean of a normalised channel is its shift, whatever came before, and only the
    differences between the images of a batch would be left of the gradient.
    """
    layers(builder)
    return builder.classify(4, **head), batch


CASES = [stem_gray, stem_colour_stride_2, stem_even_stride_2, dense_inside, pointwise, depthwise_3, depthwise_5,
         depthwise_7, depthwise_even, one_pixel, one_pixel_alone, kernel_transform, residual, subnet_view,
         many_images, wide, weight_quantization, transformed_weight_quantization, activation_quantization,
         linear_quantization, everything]


def evaluate(case, seed):
    """The content of one file, or None when this seed comes too near to a jump."""
    generator = np.random.default_rng(seed)
    builder, batch = case(generator)
    network = builder.network()
    size, channels, classes = network["image_size"], network["image_channels"], network["head"]["classes"]
    images = np.round(generator.uniform(-1, 1, (batch, size, size, channels)), 4)
    incoming = np.round(generator.uniform(-1, 1, (batch, classes)), 4)
    logits, statistics, grads, margins = gradients(network, builder.parameters, images, incoming, torch.float64)
    given = [_other_statistics(generator, layer["out_channels"]) for layer in network["layers"]]
    inferred, _, margins_inferred = infer(network, builder.parameters, images, given)
    if min(margins.smallest, margins_inferred.smallest) < 1.0:
        return None
    single, _, single_grads, _ = gradients(network, builder.parameters, images, incoming, torch.float32)
    return {
        "about": case.__doc__, "norm_epsilon": NORM_EPSILON, "batch": batch, "network": network,
        "parameters": numbers(builder.parameters), "images": numbers(images), "logits_gradient": numbers(incoming),
        "logits": numbers(logits), "gradients": numbers(grads),
        "statistics": [{"mean": numbers(mean), "variance": numbers(variance)} for mean, variance in statistics],
        "inference": {"statistics": given, "logits": numbers(inferred)},
        "float32_error": {"logits": relative_error(single, logits), "gradients": relative_error(single_grads, grads)},
    }


def infer(network, parameters, images, statistics):
    values = torch.tensor(parameters, dtype=torch.float32).double()
    pixels = torch.tensor(images, dtype=torch.float32).double()
    return forward(network, values, pixels, statistics)


def _other_statistics(generator, channels):
    """Statistics that are not the batch's own, as running averages are."""
    mean, variance = generator.uniform(-0.3, 0.3, channels), generator.uniform(0.3, 2.0, channels)
    return {"mean": numbers(np.round(mean, 3)), "variance": numbers(np.round(variance, 3))}


def make(case):
    for seed in range(SEEDS):
        content = evaluate(case, seed)
        if content:
            return write(case.__name__, "golden_ops.py", seed, content)
    raise SystemExit(f"{case.__name__}: no seed below {SEEDS} keeps its distance from every jump")


def main(names):
    for case in CASES:
        if not names or case.__name__ in names:
            make(case)
    if not names or "training" in names:
        golden_training.make()


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(sys.argv[1:])
