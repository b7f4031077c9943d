#!/usr/bin/env python3
"""Golden data for the engine's graphs (`crates/engine/src/graph.rs`): small networks of any wiring, evaluated in
float64 by PyTorch's autograd, with the same quantizers and the same distance from every jump as in `golden_ops.py`.

usage: golden_graphs.py [NAME ...]   (all files when no name is given)
"""
import sys

import numpy as np
import torch
import torch.nn.functional as F

import golden
from golden import numbers, relative_error, write
from network import NORM_EPSILON, Margins, normalise, quantize_activation, quantize_weight

SEEDS = 4000  # tried for one case before giving up on a comfortable distance from every jump
golden.FOLDER = golden.FOLDER / "graphs"


class Graph:
    """Steps in order and the numbers they need; every call adds a step and returns the value it writes."""

    def __init__(self, generator, size, channels):
        self.generator, self.parameters, self.steps = generator, [], []
        self.image_size, self.image_channels = size, channels
        self.shapes = [(size, channels)]

    def append(self, values):
        offset = len(self.parameters)
        self.parameters.extend(float(np.float32(round(float(v), 4))) for v in np.ravel(values))
        return offset

    def range_of(self, bits, signed, reach):
        return {"bits": bits, "signed": signed, "range_offset": self.append([reach])}

    def push(self, work, source, shape, rectifier=None, input_quantizer=None, output_quantizer=None):
        source = len(self.shapes) - 1 if source is None else source
        self.steps.append({"name": f"{work['kind']}_{len(self.steps)}", "input": source, "work": work,
                           "rectifier": rectifier, "input_quantizer": input_quantizer,
                           "output_quantizer": output_quantizer})
        self.shapes.append(shape)
        return len(self.shapes) - 1

    def convolution(self, channels, kernel, stride=1, padding=0, source=None, norm=True, depthwise=False, bits=None,
                    **rest):
        size, inputs = self.shapes[len(self.shapes) - 1 if source is None else source]
        rows = kernel**2 * (1 if depthwise else inputs)
        bound = 1.5 * (3.0 / rows) ** 0.5
        weights = self.generator.uniform(-bound, bound, (rows, channels))
        work = {"kind": "convolution", "depthwise": depthwise, "kernel": kernel, "stride": stride, "padding": padding,
                "out_channels": channels, "weight_offset": self.append(weights)}
        reach = np.abs(np.round(weights, 4)).max(0) * self.generator.uniform(0.6, 1.0, channels)
        work["weight_quantizer"] = bits and {
            "bits": bits, "thresholds": [float(np.float32(round(t, 3))) for t in np.maximum(reach, 0.02)]}
        if norm:
            work["gamma_offset"] = self.append(self.generator.uniform(1.0, 2.0, channels))
            work["beta_offset"] = self.append(self.generator.uniform(-1.0, 1.0, channels))
        else:
            work["bias_offset"] = self.append(self.generator.uniform(-0.5, 0.5, channels))
        return self.push(work, source, ((size + 2 * padding - kernel) // stride + 1, channels), **rest)

    def pool(self, kind, kernel, stride, padding=0, source=None, **rest):
        size, channels = self.shapes[len(self.shapes) - 1 if source is None else source]
        work = {"kind": kind, "kernel": kernel, "stride": stride, "padding": padding}
        return self.push(work, source, ((size + 2 * padding - kernel) // stride + 1, channels), **rest)

    def add(self, left, right, **rest):
        return self.push({"kind": "add", "other": right}, left, self.shapes[left], **rest)

    def graph(self):
        return {"image_size": self.image_size, "image_channels": self.image_channels, "steps": self.steps}


def small_cnn(g):
    """As LeNet and VGG: biases, no padding and some, max pools with and without a border, two full layers."""
    b = Graph(g, 12, 3)
    b.convolution(5, 5, norm=False, rectifier="relu")
    b.pool("max_pool", 2, 2)
    b.convolution(18, 3, padding=1, norm=False, rectifier=1.5)
    b.pool("max_pool", 3, 2, padding=1)
    b.convolution(9, 2, norm=False, rectifier="relu")
    b.convolution(4, 1, norm=False)
    return b, 3


def basic_blocks(g):
    """As ResNet: a projection on the shortcut, an identity, ReLU behind every sum, mean over the image."""
    b = Graph(g, 7, 2)
    trunk = b.convolution(5, 3, padding=1, rectifier="relu")
    b.convolution(9, 3, stride=2, padding=1, rectifier="relu")
    inner = b.convolution(9, 3, padding=1)
    shortcut = b.convolution(9, 1, stride=2, source=trunk)
    trunk = b.add(inner, shortcut, rectifier="relu")
    b.convolution(9, 3, padding=1, rectifier="relu")
    inner = b.convolution(9, 3, padding=1)
    b.add(inner, trunk, rectifier=2.5)
    b.pool("average_pool", 4, 1)
    b.convolution(4, 1, norm=False)
    return b, 3


def odd_wiring(g):
    """Depthwise with stride 3, a value added to itself, a sum of three readers, pools with borders and rectifiers."""
    b = Graph(g, 9, 3)
    first = b.convolution(3, 3, stride=1, padding=2, depthwise=True, rectifier=2.0)
    twice = b.add(first, first)
    mean = b.pool("average_pool", 3, 2, padding=1, source=twice)
    most = b.pool("max_pool", 2, 2, padding=1, source=first)
    both = b.add(mean, most, rectifier="relu")
    b.convolution(19, 4, stride=3, padding=1, source=both, norm=True, rectifier="relu")
    b.convolution(19, 2, depthwise=True, norm=False)
    b.convolution(3, 1, norm=False)
    return b, 19


def quantized(g):
    """Every kind of quantizer: on the image, on streams, on sums, behind pools, of weights at 2, 4 and 8 bits."""
    b = Graph(g, 6, 2)
    trunk = b.convolution(6, 3, padding=1, bits=8, rectifier="relu", input_quantizer=b.range_of(6, True, 0.9),
                          output_quantizer=b.range_of(4, False, 1.9))
    inner = b.convolution(6, 3, padding=1, bits=4, input_quantizer=b.range_of(3, False, 1.4),
                          output_quantizer=b.range_of(6, True, 1.7))
    total = b.add(inner, trunk, rectifier="relu", output_quantizer=b.range_of(5, False, 2.1))
    b.pool("max_pool", 2, 2, source=total)
    b.convolution(6, 3, padding=1, depthwise=True, bits=2, rectifier=2.0, output_quantizer=b.range_of(4, False, 1.6))
    b.pool("average_pool", 3, 1, output_quantizer=b.range_of(6, False, 1.2))
    b.convolution(3, 1, norm=False, bits=8, input_quantizer=b.range_of(4, False, 1.0))
    return b, 2


CASES = [small_cnn, basic_blocks, odd_wiring, quantized]


def convolve(work, values, inputs, parameters, margins):
    kernel, outputs = work["kernel"], work["out_channels"]
    rows = kernel**2 * (1 if work["depthwise"] else inputs)
    weight = parameters[work["weight_offset"] :][: rows * outputs].reshape(rows, outputs)
    weight = quantize_weight(weight, work["weight_quantizer"], margins)
    weight = weight.reshape(kernel, kernel, -1, outputs).permute(3, 2, 0, 1)
    groups = outputs if work["depthwise"] else 1
    return F.conv2d(values, weight, stride=work["stride"], padding=work["padding"], groups=groups)


def largest(work, values, margins):
    kernel, stride, padding = work["kernel"], work["stride"], work["padding"]
    if kernel > 1:
        bordered = F.pad(values, [padding] * 4, value=-1e9)
        windows = bordered.unfold(2, kernel, stride).unfold(3, kernel, stride).flatten(4)
        best = windows.topk(2, dim=4).values
        gap = (best[..., 0] - best[..., 1]).flatten()
        margins.observe(gap[gap > 1e-9], best[..., 0].flatten()[gap > 1e-9])
    return F.max_pool2d(values, kernel, stride, padding)


def rectify(rectifier, values, margins):
    if rectifier is None:
        return values
    margins.edge(values[values != 0], 0.0)
    if rectifier == "relu":
        return F.relu(values)
    margins.edge(values, rectifier)
    return torch.clamp(values, 0.0, rectifier)


def forward(graph, parameters, images, statistics=None):
    margins, used = Margins(), []
    values = [images.permute(0, 3, 1, 2)]
    for index, step in enumerate(graph["steps"]):
        work, value = step["work"], values[step["input"]]
        kind, own = work["kind"], None
        if kind == "convolution":
            loaded = quantize_activation(value, step["input_quantizer"], parameters, margins)
            raw = convolve(work, loaded, value.shape[1], parameters, margins)
            if "gamma_offset" in work:
                raw, own = normalise(work, raw, parameters, statistics[index] if statistics else None)
            else:
                raw = raw + parameters[work["bias_offset"] :][: work["out_channels"]].reshape(1, -1, 1, 1)
        elif kind == "add":
            raw = value + values[work["other"]]
        elif kind == "max_pool":
            raw = largest(work, value, margins)
        else:
            raw = F.avg_pool2d(value, work["kernel"], work["stride"], work["padding"])
        raw = rectify(step["rectifier"], raw, margins)
        values.append(quantize_activation(raw, step["output_quantizer"], parameters, margins))
        used.append(own)
    return values[-1].flatten(1), used, margins


def gradients(graph, parameters, images, incoming, dtype):
    values = torch.tensor(parameters, dtype=torch.float32).to(dtype).requires_grad_()
    logits, used, margins = forward(graph, values, torch.tensor(images, dtype=torch.float32).to(dtype))
    logits.backward(torch.tensor(incoming, dtype=torch.float32).to(dtype))
    return logits.detach(), used, values.grad, margins


def given_statistics(generator, step):
    if "gamma_offset" not in step["work"]:
        return None
    channels = step["work"]["out_channels"]
    mean, variance = generator.uniform(-0.3, 0.3, channels), generator.uniform(0.3, 2.0, channels)
    return {"mean": numbers(np.round(mean, 3)), "variance": numbers(np.round(variance, 3))}


def evaluate(case, seed):
    """The content of one file, or None when this seed comes too near to a jump."""
    generator = np.random.default_rng(seed)
    builder, batch = case(generator)
    graph = builder.graph()
    images = np.round(generator.uniform(-1, 1, (batch, builder.image_size, builder.image_size, builder.image_channels)), 4)
    incoming = np.round(generator.uniform(-1, 1, (batch, builder.shapes[-1][1])), 4)
    logits, used, grads, margins = gradients(graph, builder.parameters, images, incoming, torch.float64)
    given = [given_statistics(generator, step) for step in graph["steps"]]
    values = torch.tensor(builder.parameters, dtype=torch.float32).double()
    inferred, _, other = forward(graph, values, torch.tensor(images, dtype=torch.float32).double(), given)
    if min(margins.smallest, other.smallest) < case_margin(case):
        return None
    single, _, single_grads, _ = gradients(graph, builder.parameters, images, incoming, torch.float32)
    statistics = [own and {"mean": numbers(own[0]), "variance": numbers(own[1])} for own in used]
    return {
        "about": case.__doc__, "norm_epsilon": NORM_EPSILON, "batch": batch, "graph": graph,
        "parameters": numbers(builder.parameters), "images": numbers(images), "logits_gradient": numbers(incoming),
        "logits": numbers(logits), "gradients": numbers(grads), "statistics": statistics,
        "inference": {"statistics": given, "logits": numbers(inferred)},
        "float32_error": {"logits": relative_error(single, logits), "gradients": relative_error(single_grads, grads)},
    }


def case_margin(case):
    """Many values come near some edge: a tenth of the comfortable distance for the largest case."""
    return 0.1 if case is odd_wiring else 0.5


def make(case):
    for seed in range(SEEDS):
        content = evaluate(case, seed)
        if content:
            return write(case.__name__, "golden_graphs.py", seed, content)
    raise SystemExit(f"{case.__name__}: no seed below {SEEDS} keeps its distance from every jump")


if __name__ == "__main__":
    torch.set_num_threads(1)
    for case in CASES:
        if not sys.argv[1:] or case.__name__ in sys.argv[1:]:
            make(case)
