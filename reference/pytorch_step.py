#!/usr/bin/env python3
"""How fast PyTorch trains and runs the reference network on the CPU; one JSON line a mode.

A training step is forward, cross entropy, backward, SGD with momentum, on one fixed random batch; inference is the forward
pass in evaluation mode. Reported is the median over the steps after a warm-up.

usage: pytorch_step.py [--threads 2] [--batch 64] [--steps 12] [--mode MODE ...]
MODE: eager | eager-nhwc | compile | compile-nhwc   (nhwc = channels-last memory; compile = torch.compile, inductor)
"""
import argparse
import json
import statistics
import time

import torch
from torch import nn

from reference_network import BLOCKS, CHANNELS, CLASSES, LAST, MODES, PARAMETERS, SIZE, STEM

WARM_UP = 3


def convolution(inputs, outputs, kernel=1, stride=1, groups=1, relu=True):
    """Convolution, batch norm and, unless the layer is linear, ReLU6."""
    parts = [nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
             nn.BatchNorm2d(outputs)]
    return nn.Sequential(*parts, *([nn.ReLU6()] if relu else []))


class Bottleneck(nn.Module):
    """Expand, depthwise, project; the input is added where the shapes allow."""

    def __init__(self, inputs, outputs, kernel, stride, expand):
        super().__init__()
        inside = inputs * expand
        self.adds_input = stride == 1 and inputs == outputs
        self.layers = nn.Sequential(
            convolution(inputs, inside),
            convolution(inside, inside, kernel, stride, groups=inside),
            convolution(inside, outputs, relu=False),
        )

    def forward(self, values):
        new = self.layers(values)
        return new + values if self.adds_input else new


class ReferenceNetwork(nn.Module):
    def __init__(self):
        super().__init__()
        blocks = [Bottleneck(*block) for block in BLOCKS]
        self.layers = nn.Sequential(convolution(CHANNELS, STEM, 3), *blocks, convolution(BLOCKS[-1][1], LAST))
        self.linear = nn.Linear(LAST, CLASSES)

    def forward(self, images):
        return self.linear(self.layers(images).mean((2, 3)))


def median_seconds(work, steps):
    """Median time of `work` after a warm-up: by the clock, and of processor time."""
    seconds = []
    for _ in range(WARM_UP + steps):
        start, processor = time.perf_counter(), time.process_time()
        work()
        seconds.append((time.perf_counter() - start, time.process_time() - processor))
    return [statistics.median(values) for values in zip(*seconds[WARM_UP:])]


def prepare(mode, batch):
    """The network in the mode's memory layout, the function that runs it, images and labels."""
    torch.manual_seed(0)
    network = ReferenceNetwork()
    assert sum(p.numel() for p in network.parameters()) == PARAMETERS
    images, labels = torch.randn(batch, CHANNELS, SIZE, SIZE), torch.randint(0, CLASSES, (batch,))
    if mode.endswith("nhwc"):
        network = network.to(memory_format=torch.channels_last)
        images = images.to(memory_format=torch.channels_last)
    return network, torch.compile(network) if mode.startswith("compile") else network, images, labels


def measure(mode, batch, steps):
    network, run, images, labels = prepare(mode, batch)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)

    def train():
        optimizer.zero_grad(set_to_none=True)
        nn.functional.cross_entropy(run(images), labels).backward()
        optimizer.step()

    def infer():
        with torch.inference_mode():
            run(images)

    training = median_seconds(train, steps)
    network.eval()
    inference = median_seconds(infer, steps)
    return {
        "name": "step", "mode": mode, "torch": torch.__version__, "threads": torch.get_num_threads(), "batch": batch,
        "train_images_per_second": round(batch / training[0], 1), "infer_images_per_second": round(batch / inference[0], 1),
        "train_images_per_processor_second": round(batch / training[1], 1),
        "infer_images_per_processor_second": round(batch / inference[1], 1),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--mode", nargs="+", choices=MODES, default=["eager", "eager-nhwc"])
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    for mode in arguments.mode:
        print(json.dumps(measure(mode, arguments.batch, arguments.steps)), flush=True)


if __name__ == "__main__":
    main()
