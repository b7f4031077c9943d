"""Writes small networks down: each call adds a layer and the numbers it needs to one flat parameter vector."""
import math

import numpy as np

NO_QUANTIZERS = {"input_quantizer": None, "output_quantizer": None, "sum_quantizer": None}


class Builder:
    """A network under construction.

    `wider` stores every weight with that many more columns (and one more row) than the layer uses, as in a supernet
    whose subnet is narrower; the gradient outside the view must stay zero.
    """

    def __init__(self, generator, image_size, image_channels, wider=0):
        self.generator, self.wider = generator, wider
        self.image_size, self.image_channels = image_size, image_channels
        self.parameters, self.layers, self.head = [], [], None

    def _append(self, values):
        """Adds numbers, rounded to four decimals so that the files stay short; returns their offset."""
        offset = len(self.parameters)
        self.parameters.extend(float(np.float32(round(float(v), 4))) for v in np.ravel(values))
        return offset

    def _weight(self, rows, columns, fan_in):
        bound = 1.5 * math.sqrt(3.0 / fan_in)
        stored = self.generator.uniform(-bound, bound, (rows + (self.wider > 0), columns + self.wider))
        return {"offset": self._append(stored), "row_stride": columns + self.wider}

    def _thresholds(self, weight, rows, columns, reach):
        """A threshold for every column: between `reach` and all of its largest stored magnitude."""
        flat, stride = np.array(self.parameters), weight["row_stride"]
        used = np.stack([flat[weight["offset"] + r * stride :][:columns] for r in range(rows)])
        share = self.generator.uniform(reach, 1.0, columns)
        return [float(np.float32(round(t, 3))) for t in np.maximum(np.abs(used).max(0) * share, 0.02)]

    def range_of(self, bits, signed, reach):
        """An activation quantizer with its own trainable range."""
        return {"bits": bits, "signed": signed, "range_offset": self._append([reach])}

    def shape(self, source):
        """(channels, size) of what a layer fed by `source` loads."""
        if source == "image":
            return self.image_channels, self.image_size
        layer = self.layers[source]
        stride = layer["convolution"].get("stride", 1)
        return layer["out_channels"], -(-layer["input_size"] // stride)

    def layer(self, kind, out=None, kernel=1, stride=1, activation="relu6", weight_bits=None, reach=0.6, stored=None,
              **rest):
        """Adds a layer fed by the one before it (or by `input`) and returns its index."""
        source = rest.pop("input", len(self.layers) - 1 if self.layers else "image")
        channels, size = self.shape(source)
        out = channels if kind == "depthwise" else out
        rows = {"dense": kernel**2 * channels, "pointwise": channels, "depthwise": (stored or kernel) ** 2}[kind]
        convolution = {"kind": kind} if kind == "pointwise" else {"kind": kind, "kernel": kernel, "stride": stride}
        weight = self._weight(rows, out, rows)
        quantizer = weight_bits and {"bits": weight_bits, "thresholds": self._thresholds(weight, rows, out, reach)}
        relu = activation == "relu6"
        gamma = self.generator.uniform(1.0, 3.0 if relu else 1.5, out + self.wider)
        beta = self.generator.uniform(-1.0, 3.0 if relu else 1.0, out + self.wider)
        self.layers.append({
            "name": f"{kind}_{len(self.layers)}", "convolution": convolution, "in_channels": channels,
            "out_channels": out, "input_size": size, "weight": weight,
            "kernel_transform": self._transform(stored, kernel) if stored else None, "weight_quantizer": quantizer,
            "gamma_offset": self._append(gamma), "beta_offset": self._append(beta), "activation": activation,
            "input": source, "residual": None, **NO_QUANTIZERS, **rest,
        })
        return len(self.layers) - 1

    def _transform(self, stored, kernel):
        """Matrices near the identity, as after some training."""
        steps = []
        for size in range(stored - 2, kernel - 1, -2):
            taps = size * size
            matrix = np.eye(taps) + self.generator.uniform(-0.1, 0.1, (taps, taps))
            steps.append({"kernel": size, "matrix_offset": self._append(matrix)})
        return {"stored": stored, "steps": steps}

    def bottleneck(self, out, expand, kernel, stride=1, residual=None, bits=None, **depthwise):
        """Expand, depthwise, project: the inverted bottleneck; `bits` quantizes all weights."""
        inside = self.shape(len(self.layers) - 1)[0] * expand
        self.layer("pointwise", inside, weight_bits=bits)
        self.layer("depthwise", kernel=kernel, stride=stride, weight_bits=bits, **depthwise)
        return self.layer("pointwise", out, activation="linear", weight_bits=bits, residual=residual)

    def classify(self, classes, input_quantizer=None, pooled_quantizer=None, weight_bits=None):
        """Closes the network with pooling and a linear layer on the last layer's output."""
        features = self.shape(len(self.layers) - 1)[0]
        weight = self._weight(features, classes, features)
        quantizer = weight_bits and {"bits": weight_bits,
                                     "thresholds": self._thresholds(weight, features, classes, 0.6)}
        bias = self._append(self.generator.uniform(-0.5, 0.5, classes))
        self.head = {"input": len(self.layers) - 1, "features": features, "classes": classes, "weight": weight,
                     "bias_offset": bias, "input_quantizer": input_quantizer, "pooled_quantizer": pooled_quantizer,
                     "weight_quantizer": quantizer}
        return self

    def network(self):
        return {"image_size": self.image_size, "image_channels": self.image_channels, "layers": self.layers,
                "head": self.head}
