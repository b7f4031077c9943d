#!/usr/bin/env python3
"""Golden data for the whole reference network (pytorch_step.py) at batch 4: `reference_network.json`.

Its 233,114 parameters and as many gradients are too many to store. The parameters, the images and the probes come from a
generator that any language can repeat:

    state <- state * 6364136223846793005 + 1442695040888963407   (mod 2^64), started at a seed, stepped before each number
    unit  =  2 * floor(state / 2^40) / 2^24 - 1                   exact, in [-1, 1)
    value =  float32(centre + bound * unit)                       evaluated in float64
    sign  =  +1 when the state's top bit is set, otherwise -1

Parameters use one stream in the order of the flat vector, images (NHWC) and probes a stream each. Of the gradient of every
parameter tensor the file holds its L2 norm, its dot products with `PROBES` sign vectors (a whole error e shows in them:
the mean square of probe . e is |e|^2) and eight entries.
"""
import math

import numpy as np
import torch
import torch.nn.functional as F

from golden import numbers, write
from network import NORM_EPSILON, forward, gradients
from reference_network import BLOCKS, CHANNELS, CLASSES, LAST, PARAMETERS, SIZE, STEM

BATCH = 4
PARAMETER_SEED, IMAGE_SEED, PROBE_SEED, IMAGE_BOUND = 1, 2, 3, 1.7
PROBES, ENTRIES = 4, 8


class Stream:
    """The portable generator."""

    def __init__(self, seed):
        self.state = seed

    def step(self):
        self.state = (self.state * 6364136223846793005 + 1442695040888963407) % 2**64
        return self.state

    def values(self, count, centre, bound):
        units = np.array([self.step() >> 40 for _ in range(count)]) * 2.0**-23 - 1.0
        return (centre + bound * units).astype(np.float32)

    def signs(self, count):
        return np.array([1.0 if self.step() >> 63 else -1.0 for _ in range(count)])


class Plan:
    """The network as a list of layers, and the list of its parameter tensors in flat order."""

    def __init__(self):
        self.layers, self.tensors, self.length = [], [], 0

    def tensor(self, name, length, centre, bound):
        offset = self.length
        self.tensors.append({"name": name, "offset": offset, "length": length, "centre": centre, "bound": bound})
        self.length += length
        return offset

    def layer(self, name, kind, channels, out, size, kernel=1, stride=1, activation="relu6", residual=None):
        fan_in = {"dense": kernel**2 * channels, "pointwise": channels, "depthwise": kernel**2}[kind]
        convolution = {"kind": kind} if kind == "pointwise" else {"kind": kind, "kernel": kernel, "stride": stride}
        bound = round(math.sqrt(6.0 / fan_in), 6)
        self.layers.append({
            "name": name, "convolution": convolution, "in_channels": channels, "out_channels": out,
            "input_size": size, "weight": {"offset": self.tensor(name, fan_in * out, 0.0, bound), "row_stride": out},
            "kernel_transform": None, "weight_quantizer": None,
            "gamma_offset": self.tensor(f"{name}.gamma", out, 1.0, 0.3),
            "beta_offset": self.tensor(f"{name}.beta", out, 0.0, 0.3), "activation": activation,
            "input": len(self.layers) - 1 if self.layers else "image", "residual": residual,
            "input_quantizer": None, "output_quantizer": None, "sum_quantizer": None,
        })

    def block(self, index, size, channels, out, kernel, stride, expand):
        inside = channels * expand
        trunk = len(self.layers) - 1 if channels == out and stride == 1 else None
        self.layer(f"block{index}.expand", "pointwise", channels, inside, size)
        self.layer(f"block{index}.depthwise", "depthwise", inside, inside, size, kernel, stride)
        self.layer(f"block{index}.project", "pointwise", inside, out, -(-size // stride), activation="linear",
                   residual=trunk)

    def network(self):
        self.layer("stem", "dense", CHANNELS, STEM, SIZE, kernel=3)
        size = SIZE
        for index, (channels, out, kernel, stride, expand) in enumerate(BLOCKS):
            self.block(index, size, channels, out, kernel, stride, expand)
            size = -(-size // stride)
        self.layer("last", "pointwise", BLOCKS[-1][1], LAST, size)
        weight = {"offset": self.tensor("linear", LAST * CLASSES, 0.0, 0.2), "row_stride": CLASSES}
        head = {"input": len(self.layers) - 1, "features": LAST, "classes": CLASSES, "weight": weight,
                "bias_offset": self.tensor("linear.bias", CLASSES, 0.0, 0.2), "input_quantizer": None,
                "pooled_quantizer": None, "weight_quantizer": None}
        return {"image_size": SIZE, "image_channels": CHANNELS, "layers": self.layers, "head": head}


def logits_gradient(logits, labels):
    logits = logits.detach().clone().requires_grad_()
    loss = F.cross_entropy(logits, labels)
    loss.backward()
    return loss.item(), logits.grad


def summarise(gradient, tensor, stream):
    """Norm, probes and a few entries (evenly spread) of one tensor's gradient."""
    part = gradient[tensor["offset"] :][: tensor["length"]]
    count = min(ENTRIES, tensor["length"])
    places = [(2 * i + 1) * tensor["length"] // (2 * count) for i in range(count)]
    dots = [float(part @ torch.tensor(stream.signs(tensor["length"]))) for _ in range(PROBES)]
    return tensor | {"norm": part.norm().item(), "probes": dots, "places": places, "entries": numbers(part[places])}


def main():
    plan = Plan()
    network = plan.network()
    assert plan.length == PARAMETERS
    stream = Stream(PARAMETER_SEED)
    parameters = np.concatenate([stream.values(t["length"], t["centre"], t["bound"]) for t in plan.tensors])
    images = Stream(IMAGE_SEED).values(BATCH * SIZE * SIZE * CHANNELS, 0.0, IMAGE_BOUND)
    images = images.reshape(BATCH, SIZE, SIZE, CHANNELS)
    labels = torch.arange(BATCH)
    doubles = torch.tensor(parameters).double(), torch.tensor(images).double()
    loss, incoming = logits_gradient(forward(network, *doubles)[0], labels)
    logits, statistics, gradient, _ = gradients(network, parameters, images, incoming.numpy(), torch.float64)
    single = gradients(network, parameters, images, incoming.numpy(), torch.float32)[2].double()
    probes = Stream(PROBE_SEED)
    write("reference_network", "golden_network.py", PARAMETER_SEED, {
        "about": "Whole network; see the script for the generator of parameters, images and probes.",
        "norm_epsilon": NORM_EPSILON, "batch": BATCH, "seeds": {"parameters": PARAMETER_SEED, "images": IMAGE_SEED,
        "probes": PROBE_SEED}, "image_bound": IMAGE_BOUND, "parameter_count": plan.length, "network": network,
        "first_parameters": numbers(parameters[:4]), "labels": labels.tolist(), "loss": loss,
        "logits": numbers(logits), "logits_gradient": numbers(incoming),
        "statistics_of_last": {"mean": numbers(statistics[-1][0]), "variance": numbers(statistics[-1][1])},
        "tensors": [summarise(gradient, tensor, probes) for tensor in plan.tensors],
        "float32_error": ((single - gradient).norm() / gradient.norm()).item(),
    })


if __name__ == "__main__":
    main()
