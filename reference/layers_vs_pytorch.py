#!/usr/bin/env python3
"""The engine's layers beside PyTorch's, at every shape of the reference network, forward and backward.

A layer is convolution, batch norm with batch statistics and its activation. An expansion and the depthwise convolution
behind it count together: the engine never stores what lies between them, so neither has a time of its own. PyTorch runs
each layer alone in both memory layouts, eager; the faster one counts. Rounds alternate between the two, medians over them.

usage: layers_vs_pytorch.py [--threads 2] [--rounds 3] [--steps 9]
environment: CARGO, ENGINE_BENCH as in bench_vs_pytorch.py
prints one JSON line a layer: milliseconds of both and PyTorch / engine ("ratio"), then a summary; exit 1 when a layer is slower
"""
import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import time

import torch

from bench_vs_pytorch import build_engine
from pytorch_step import convolution

BATCH = 64
WARM_UP = 2


def engine_layers(binary, threads, steps):
    """Milliseconds by (index, direction), and each layer's shape."""
    command = [binary, "step", "--threads", str(threads), "--steps", str(steps)]
    lines = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    layers = [entry for entry in map(json.loads, lines) if entry["name"] == "layer"]
    times = {(entry["index"], entry["direction"]): entry["milliseconds"] for entry in layers}
    return times, {entry["index"]: entry for entry in layers if entry["direction"] == "forward"}


def kind(shape):
    """(word, kernel, stride) of a layer."""
    word = shape["convolution"].split()[0]
    numbers = [int(number) for number in re.findall(r"\d+", shape["convolution"])]
    return (word, *numbers) if numbers else (word, 1, 1)


def module(shape, linear):
    """PyTorch's layer of this shape."""
    word, kernel, stride = kind(shape)
    groups = shape["in"] if word == "Depthwise" else 1
    return convolution(shape["in"], shape["out"], kernel, stride, groups=groups, relu=not linear)


def pytorch_layer(shape, linear, channels_last, steps):
    """Median milliseconds (forward, backward) of one layer alone."""
    layout = torch.channels_last if channels_last else torch.contiguous_format
    layer = module(shape, linear).to(memory_format=layout)
    images = torch.randn(BATCH, shape["in"], shape["size"], shape["size"]).to(memory_format=layout)
    images.requires_grad_(shape["index"] > 0)
    times = ([], [])
    for step in range(WARM_UP + steps):
        start = time.perf_counter()
        output = layer(images)
        middle = time.perf_counter()
        gradient = torch.ones_like(output)
        begin = time.perf_counter()
        output.backward(gradient)
        end = time.perf_counter()
        images.grad = None
        if step >= WARM_UP:
            times[0].append(1e3 * (middle - start))
            times[1].append(1e3 * (end - begin))
    return [statistics.median(column) for column in times]


def pytorch_layers(shapes, steps):
    """Milliseconds by (index, direction), the faster layout of each."""
    times = {}
    for index, shape in shapes.items():
        before = shapes.get(index - 1)
        linear = kind(shape)[0] == "Pointwise" and before is not None and kind(before)[0] == "Depthwise"
        layouts = [pytorch_layer(shape, linear, channels_last, steps) for channels_last in (False, True)]
        for place, direction in enumerate(("forward", "backward")):
            times[index, direction] = min(layout[place] for layout in layouts)
    return times


def groups(shapes):
    """Lists of layers that count together."""
    found = []
    for index, shape in sorted(shapes.items()):
        joined = kind(shape)[0] == "Depthwise" and found and kind(shapes[found[-1][-1]])[0] == "Pointwise"
        found[-1].append(index) if joined else found.append([index])
    return found


def name(shapes, group):
    """For example `1×1 24→144 + depthwise 5×5/2 at 32`."""
    def one(shape):
        word, kernel, stride = kind(shape)
        text = f"{word.lower()} {kernel}×{kernel}" + (f"/{stride}" if stride > 1 else "")
        return text if word == "Depthwise" else f"{text} {shape['in']}→{shape['out']}"
    return " + ".join(one(shapes[index]) for index in group) + f" at {shapes[group[0]]['size']}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=9)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    binary = os.environ.get("ENGINE_BENCH") or build_engine()
    ours, theirs = [], []
    for _ in range(arguments.rounds):
        times, shapes = engine_layers(binary, arguments.threads, arguments.steps)
        ours.append(times)
        theirs.append(pytorch_layers(shapes, arguments.steps))
    slower = 0
    for group in groups(shapes):
        for direction in ("forward", "backward"):
            sums = [[sum(times[index, direction] for index in group) for times in side] for side in (ours, theirs)]
            ratio = statistics.median(b / a for a, b in zip(*sums))
            slower += ratio < 1
            print(json.dumps({"name": name(shapes, group), "direction": direction, "ratio": round(ratio, 2),
                              "engine_milliseconds": round(statistics.median(sums[0]), 3),
                              "pytorch_milliseconds": round(statistics.median(sums[1]), 3)}, ensure_ascii=False), flush=True)
    print(json.dumps({"name": "slower than PyTorch", "layers": slower, "threads": arguments.threads,
                      "rounds": arguments.rounds, "torch": torch.__version__}))
    sys.exit(min(slower, 1))


if __name__ == "__main__":
    main()
