"""The engine's model of computation, evaluated by PyTorch's autograd.

A network is the plain dictionary that the golden files hold and that `crates/engine/tests/golden.rs` turns into the
engine's `Network`: a list of fused convolution layers and a head, all numbers in one flat parameter vector.
`forward` walks that dictionary with PyTorch operations, so that autograd supplies every expected gradient.

Layouts: images and activations are NHWC outside this file (PyTorch's NCHW inside). A weight is a strided matrix view:
dense [kernel * kernel * in_channels] x [out_channels] with rows ordered (row of the kernel, column, in-channel),
pointwise [in] x [out], depthwise [stored kernel squared] x [channels], linear [in] x [out].
"""
import torch
import torch.nn.functional as F

NORM_EPSILON = 1e-5


class Margins:
    """How close a forward pass came to a jump of its own function or derivative.

    Rounding to a level, clipping and ReLU6 jump; a value on the edge may fall either way in another summation order.
    Golden data keeps its distance, so that a mismatch is always an error and never luck.
    Distances are in steps of the quantizer, or in units of the activation for ReLU6; `smallest` is in multiples of what
    32-bit arithmetic may move the value by.
    """

    ABSOLUTE, RELATIVE = 1e-4, 2e-6

    def __init__(self):
        self.smallest = float("inf")

    def observe(self, distance, magnitude):
        if distance.numel():
            allowed = self.ABSOLUTE + self.RELATIVE * magnitude.abs()
            self.smallest = min(self.smallest, (distance.abs() / allowed).min().item())

    def round(self, steps):
        self.observe((steps - steps.floor()) - 0.5, steps)

    def edge(self, values, edge, scale=1.0):
        self.observe((values - edge) / scale, (values / scale))


def straight_through(exact, replaced):
    """The value of `replaced`, the gradient of `exact`."""
    return exact + (replaced - exact).detach()


def quantize_weight(weight, quantizer, margins):
    """Symmetric fake quantization of a [rows, columns] matrix, one threshold a column; no gradient beyond it."""
    if quantizer is None:
        return weight
    threshold = torch.tensor(quantizer["thresholds"], dtype=torch.float32).to(weight.dtype)
    scale = threshold / (2 ** (quantizer["bits"] - 1) - 1)
    clipped = torch.clamp(weight, -threshold, threshold)
    margins.edge(weight.abs() / scale, threshold / scale)
    margins.round((clipped / scale)[weight.abs() < threshold])
    return straight_through(clipped, torch.round(clipped / scale) * scale)


def quantize_activation(values, quantizer, parameters, margins):
    """Fake quantization with a trainable range: unsigned on [0, v], signed on [-v, v] (PACT's gradient for v)."""
    if quantizer is None:
        return values
    reach, bits = parameters[quantizer["range_offset"]], quantizer["bits"]
    scale = (reach / (2 ** (bits - 1) - 1 if quantizer["signed"] else 2**bits - 1)).detach()
    clipped = torch.where(values >= reach, reach, values)
    margins.edge(values, reach.detach(), scale)
    if quantizer["signed"]:
        clipped = torch.where(values <= -reach, -reach, clipped)
        margins.edge(values, -reach.detach(), scale)
    else:
        clipped = torch.clamp(clipped, min=0.0)
    inside = (values < reach) & (values > (-reach if quantizer["signed"] else 0.0))
    margins.round((clipped / scale)[inside])
    return straight_through(clipped, torch.round(clipped / scale) * scale)


def view(parameters, weight, rows, columns):
    return parameters.as_strided((rows, columns), (weight["row_stride"], 1), weight["offset"])


def transform_kernel(kernel, transform, parameters):
    """7 -> 5 -> 3: the centre of the [stored, stored, channels] kernel through each step's matrix in turn."""
    size = transform["stored"]
    for step in transform["steps"]:
        new = step["kernel"]
        cut = (size - new) // 2
        centre = kernel[cut : cut + new, cut : cut + new].reshape(new * new, -1)
        matrix = view(parameters, {"offset": step["matrix_offset"], "row_stride": new * new}, new * new, new * new)
        kernel, size = (matrix @ centre).reshape(new, new, -1), new
    return kernel


def convolve(layer, values, parameters, margins):
    """The bare convolution of a layer on NCHW values."""
    convolution, inputs, outputs = layer["convolution"], layer["in_channels"], layer["out_channels"]
    kind, quantizer = convolution["kind"], layer["weight_quantizer"]
    if kind == "pointwise":
        weight = quantize_weight(view(parameters, layer["weight"], inputs, outputs), quantizer, margins)
        return F.conv2d(values, weight.t().reshape(outputs, inputs, 1, 1))
    kernel, stride = convolution["kernel"], convolution["stride"]
    if kind == "dense":
        weight = quantize_weight(view(parameters, layer["weight"], kernel**2 * inputs, outputs), quantizer, margins)
        weight = weight.reshape(kernel, kernel, inputs, outputs).permute(3, 2, 0, 1)
        return F.conv2d(values, weight, stride=stride, padding=kernel // 2)
    transform = layer["kernel_transform"]
    stored = transform["stored"] if transform else kernel
    weight = view(parameters, layer["weight"], stored**2, outputs).reshape(stored, stored, outputs)
    if transform:
        weight = transform_kernel(weight, transform, parameters)
    weight = quantize_weight(weight.reshape(kernel**2, outputs), quantizer, margins)
    weight = weight.t().reshape(outputs, 1, kernel, kernel)
    return F.conv2d(values, weight, stride=stride, padding=kernel // 2, groups=outputs)


def normalise(layer, values, parameters, given):
    """Batch norm with the batch's own statistics, or with `given` ones; also returns the statistics used."""
    channels = layer["out_channels"]
    gamma = parameters[layer["gamma_offset"] : layer["gamma_offset"] + channels]
    beta = parameters[layer["beta_offset"] : layer["beta_offset"] + channels]
    if given is None:
        mean, variance = values.mean((0, 2, 3)), values.var((0, 2, 3), unbiased=False)
        return torch.batch_norm(values, gamma, beta, None, None, True, 0.0, NORM_EPSILON, False), (mean, variance)
    mean, variance = (torch.tensor(v, dtype=torch.float32).to(values.dtype) for v in (given["mean"], given["variance"]))
    return torch.batch_norm(values, gamma, beta, mean, variance, False, 0.0, NORM_EPSILON, False), (mean, variance)


def activate(layer, values, outputs, parameters, margins):
    """ReLU6; or, for a linear layer, its quantizers and the residual sum."""
    if layer["activation"] == "relu6":
        margins.edge(values, 0.0)
        margins.edge(values, 6.0)
        return F.relu6(values)
    values = quantize_activation(values, layer["output_quantizer"], parameters, margins)
    if layer["residual"] is not None:
        values = values + outputs[layer["residual"]]
    return quantize_activation(values, layer["sum_quantizer"], parameters, margins)


def classify(head, values, parameters, margins):
    values = quantize_activation(values, head["input_quantizer"], parameters, margins)
    pooled = quantize_activation(values.mean((2, 3)), head["pooled_quantizer"], parameters, margins)
    weight = view(parameters, head["weight"], head["features"], head["classes"])
    weight = quantize_weight(weight, head["weight_quantizer"], margins)
    return pooled @ weight + parameters[head["bias_offset"] : head["bias_offset"] + head["classes"]]


def forward(network, parameters, images, statistics=None):
    """Logits [batch, classes], statistics of every layer, and the margins; images [batch, size, size, channels]."""
    margins, outputs, used = Margins(), [], []
    pixels = images.permute(0, 3, 1, 2)
    for index, layer in enumerate(network["layers"]):
        source = pixels if layer["input"] == "image" else outputs[layer["input"]]
        loaded = quantize_activation(source, layer["input_quantizer"], parameters, margins)
        convolved = convolve(layer, loaded, parameters, margins)
        normal, own = normalise(layer, convolved, parameters, statistics[index] if statistics else None)
        outputs.append(activate(layer, normal, outputs, parameters, margins))
        used.append(own)
    return classify(network["head"], outputs[network["head"]["input"]], parameters, margins), used, margins


def gradients(network, parameters, images, logits_gradient, dtype):
    """Forward in training mode and backward from a given gradient of the logits, in one precision."""
    values = torch.tensor(parameters, dtype=torch.float32).to(dtype).requires_grad_()
    pixels = torch.tensor(images, dtype=torch.float32).to(dtype)
    logits, statistics, margins = forward(network, values, pixels)
    logits.backward(torch.tensor(logits_gradient, dtype=torch.float32).to(dtype))
    return logits.detach(), statistics, values.grad, margins
