"""Trains small networks on data/fmnist-mini with PyTorch and writes them as ONNX files for the tests of
`sartor quantize`. Needs torch and onnx. From the repository's root:

    python reference/onnx_models.py crates/sartor/tests/data [mobile] [plain] [resnet] [lenet]

mobile.onnx: inverted residuals as in MobileNetV2, batch norms of their own, ReLU6, one residual, global pool.
plain.onnx: convolutions with biases, ReLU, max pool, a residual that ends in ReLU, average pool, two full layers.
resnet.onnx: basic blocks as in ResNet, two of them with a projection on the shortcut, batch norms, global pool.
lenet.onnx: 5x5 convolutions without padding, ReLU behind max pools, two full layers.
"""

import gzip
import sys
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

DATA = Path("data/fmnist-mini")
BATCH = 50
LEARNING_RATE = 0.08
# (expansion, output channels, stride) of the inverted residuals
BLOCKS = [(4, 16, 2), (4, 16, 1), (4, 24, 2)]


def idx(name):
    raw = gzip.decompress((DATA / name).read_bytes())
    dims = np.frombuffer(raw, ">u4", raw[3], 4)
    return np.frombuffer(raw, np.uint8, -1, 4 + 4 * raw[3]).reshape(dims)


def images(part):
    pixels = torch.from_numpy(idx(f"{part}-images-idx3-ubyte.gz").copy()).float()[:, None] / 255
    return pixels, torch.from_numpy(idx(f"{part}-labels-idx1-ubyte.gz").copy()).long()


def convolution(inputs, outputs, kernel=1, stride=1, groups=1, act=True):
    layers = [nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)]
    layers.append(nn.BatchNorm2d(outputs))
    return nn.Sequential(*layers, *([nn.ReLU6()] if act else []))


class Inverted(nn.Module):
    def __init__(self, inputs, outputs, expansion, stride):
        super().__init__()
        wide = inputs * expansion
        self.residual = stride == 1 and inputs == outputs
        self.layers = nn.Sequential(
            convolution(inputs, wide),
            convolution(wide, wide, 3, stride, wide),
            convolution(wide, outputs, act=False),
        )

    def forward(self, x):
        return x + self.layers(x) if self.residual else self.layers(x)


class Mobile(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = convolution(1, 16, 3, 2)
        self.separable = nn.Sequential(convolution(16, 16, 3, 1, 16), convolution(16, 8, act=False))
        channels, blocks = 8, []
        for expansion, outputs, stride in BLOCKS:
            blocks.append(Inverted(channels, outputs, expansion, stride))
            channels = outputs
        self.blocks = nn.Sequential(*blocks)
        self.head = convolution(channels, 96)
        self.classifier = nn.Linear(96, 10)

    def forward(self, x):
        return self.classifier(self.head(self.blocks(self.separable(self.stem(x)))).mean([2, 3]))


class Plain(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(1, 12, 3, 1, 1)
        self.second = nn.Conv2d(12, 24, 3, 1, 1)
        self.third = nn.Conv2d(24, 24, 3, 1, 1)
        self.full = nn.Linear(24 * 9, 48)
        self.last = nn.Linear(48, 10)

    def forward(self, x):
        x = nn.functional.max_pool2d(torch.relu(self.first(x)), 2)
        x = nn.functional.max_pool2d(torch.relu(self.second(x)), 2)
        x = torch.relu(self.third(x) + x)
        x = nn.functional.avg_pool2d(x, 2)
        return self.last(torch.relu(self.full(x.flatten(1))))


class Basic(nn.Module):
    """The basic block of ResNet; a projection where shapes differ."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.first = convolution(inputs, outputs, 3, stride, act=False)
        self.second = convolution(outputs, outputs, 3, act=False)
        same = stride == 1 and inputs == outputs
        self.shortcut = None if same else convolution(inputs, outputs, 1, stride, act=False)

    def forward(self, x):
        inner = self.second(torch.relu(self.first(x)))
        return torch.relu(inner + (x if self.shortcut is None else self.shortcut(x)))


class Resnet(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = convolution(1, 12, 3, act=False)
        self.blocks = nn.Sequential(Basic(12, 12, 1), Basic(12, 24, 2), Basic(24, 32, 2))
        self.classifier = nn.Linear(32, 10)

    def forward(self, x):
        x = nn.functional.max_pool2d(torch.relu(self.stem(x)), 3, 2, 1)
        return self.classifier(self.blocks(x).mean([2, 3]))


class Lenet(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(1, 12, 5)
        self.second = nn.Conv2d(12, 24, 5)
        self.full = nn.Linear(24 * 16, 64)
        self.last = nn.Linear(64, 10)

    def forward(self, x):
        x = torch.relu(nn.functional.max_pool2d(self.first(x), 2))
        x = torch.relu(nn.functional.max_pool2d(self.second(x), 2))
        return self.last(torch.relu(self.full(x.flatten(1))))


def train(network, epochs):
    pixels, labels = images("train")
    steps = epochs * (len(pixels) // BATCH)
    sgd = torch.optim.SGD(network.parameters(), LEARNING_RATE, 0.9, weight_decay=1e-4, nesterov=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(sgd, steps)
    network.train()
    for _ in range(epochs):
        for chunk in torch.randperm(len(pixels)).split(BATCH):
            batch = pixels[chunk]
            batch = batch.flip(3) if torch.rand(()) < 0.5 else batch
            batch = nn.functional.pad(batch, (2, 2, 2, 2))
            top, left = torch.randint(0, 5, (2,))
            batch = batch[:, :, top : top + 28, left : left + 28]
            loss = nn.functional.cross_entropy(network(batch), labels[chunk], label_smoothing=0.1)
            sgd.zero_grad()
            loss.backward()
            sgd.step()
            schedule.step()
    network.eval()
    with torch.no_grad():
        pixels, labels = images("t10k")
        print(type(network).__name__, (network(pixels).argmax(1) == labels).float().mean().item(), flush=True)


class Graph:
    """Nodes and constants; every node's output has the node's name."""

    def __init__(self):
        self.nodes, self.constants = [], []

    def constant(self, name, value):
        array = value.detach().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def node(self, name, operator, inputs, **attributes):
        self.nodes.append(helper.make_node(operator, inputs, [name], name=name, **attributes))
        return name

    def convolution(self, name, x, layer):
        inputs = [x, self.constant(f"{name}.weight", layer.weight)]
        if layer.bias is not None:
            inputs.append(self.constant(f"{name}.bias", layer.bias))
        (kernel, _), (pad, _), (stride, _) = layer.kernel_size, layer.padding, layer.stride
        return self.node(
            name, "Conv", inputs, kernel_shape=[kernel] * 2, pads=[pad] * 4, strides=[stride] * 2, group=layer.groups
        )

    def dense(self, name, x, layer):
        weights = [self.constant(f"{name}.weight", layer.weight), self.constant(f"{name}.bias", layer.bias)]
        return self.node(name, "Gemm", [x, *weights], transB=1)

    def sequence(self, name, x, layers):
        x = self.convolution(f"{name}.conv", x, layers[0])
        norm = layers[1]
        fields = ["weight", "bias", "running_mean", "running_var"]
        inputs = [self.constant(f"{name}.norm.{field}", getattr(norm, field)) for field in fields]
        x = self.node(f"{name}.norm", "BatchNormalization", [x, *inputs], epsilon=norm.eps)
        if len(layers) == 3:
            limits = [self.constant(f"{name}.{end}", np.float32(end == "high") * np.float32(6)) for end in ("low", "high")]
            x = self.node(f"{name}.relu6", "Clip", [x, *limits])
        return x

    def save(self, path, last):
        image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 1, 28, 28])
        logits = helper.make_tensor_value_info(last, TensorProto.FLOAT, ["N", 10])
        graph = helper.make_graph(self.nodes, path.stem, [image], [logits], self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
        onnx.checker.check_model(model, full_check=True)
        path.write_bytes(model.SerializeToString())


def write_mobile(network, path):
    graph = Graph()
    x = graph.sequence("stem", "image", network.stem)
    x = graph.sequence("separable.depthwise", x, network.separable[0])
    x = graph.sequence("separable.project", x, network.separable[1])
    for index, block in enumerate(network.blocks):
        source = x
        for part, layers in zip(["expand", "depthwise", "project"], block.layers):
            x = graph.sequence(f"block{index}.{part}", x, layers)
        if block.residual:
            x = graph.node(f"block{index}.add", "Add", [source, x])
    x = graph.sequence("head", x, network.head)
    x = graph.node("pool", "GlobalAveragePool", [x])
    x = graph.node("flat", "Flatten", [x], axis=1)
    graph.save(path, graph.dense("classifier", x, network.classifier))


def write_plain(network, path):
    graph = Graph()
    pool = {"kernel_shape": [2, 2], "strides": [2, 2]}
    x = graph.node("first.relu", "Relu", [graph.convolution("first", "image", network.first)])
    x = graph.node("first.pool", "MaxPool", [x], **pool)
    x = graph.node("second.relu", "Relu", [graph.convolution("second", x, network.second)])
    x = source = graph.node("second.pool", "MaxPool", [x], **pool)
    x = graph.node("third.add", "Add", [graph.convolution("third", x, network.third), source])
    x = graph.node("third.relu", "Relu", [x])
    x = graph.node("third.pool", "AveragePool", [x], **pool)
    shape = graph.constant("shape", np.array([0, -1], np.int64))
    x = graph.node("flat", "Reshape", [x, shape])
    for name, layer in (("full", network.full), ("last", network.last)):
        x = graph.dense(name, x, layer)
        if name == "full":
            x = graph.node("full.relu", "Relu", [x])
    graph.save(path, x)


def write_resnet(network, path):
    graph = Graph()
    x = graph.node("stem.relu", "Relu", [graph.sequence("stem", "image", network.stem)])
    x = graph.node("stem.pool", "MaxPool", [x], kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    for index, block in enumerate(network.blocks):
        source, name = x, f"block{index}"
        x = graph.node(f"{name}.relu", "Relu", [graph.sequence(f"{name}.first", x, block.first)])
        x = graph.sequence(f"{name}.second", x, block.second)
        if block.shortcut is not None:
            source = graph.sequence(f"{name}.shortcut", source, block.shortcut)
        x = graph.node(f"{name}.out", "Relu", [graph.node(f"{name}.add", "Add", [x, source])])
    x = graph.node("flat", "Flatten", [graph.node("pool", "GlobalAveragePool", [x])], axis=1)
    graph.save(path, graph.dense("classifier", x, network.classifier))


def write_lenet(network, path):
    graph = Graph()
    x = "image"
    for name, layer in (("first", network.first), ("second", network.second)):
        x = graph.node(f"{name}.pool", "MaxPool", [graph.convolution(name, x, layer)], kernel_shape=[2, 2], strides=[2, 2])
        x = graph.node(f"{name}.relu", "Relu", [x])
    x = graph.node("flat", "Flatten", [x], axis=1)
    for name, layer in (("full", network.full), ("last", network.last)):
        x = graph.dense(name, x, layer)
        if name == "full":
            x = graph.node("full.relu", "Relu", [x])
    graph.save(path, x)


# class, writer, epochs
NETWORKS = {
    "mobile": (Mobile, write_mobile, 24),
    "plain": (Plain, write_plain, 24),
    "resnet": (Resnet, write_resnet, 6),
    "lenet": (Lenet, write_lenet, 12),
}


def main():
    folder, wanted = Path(sys.argv[1]), sys.argv[2:]
    for name, (network, write, epochs) in NETWORKS.items():
        if wanted and name not in wanted:
            continue
        torch.manual_seed(0)
        network = network()
        train(network, epochs)
        write(network, folder / f"{name}.onnx")


if __name__ == "__main__":
    main()
