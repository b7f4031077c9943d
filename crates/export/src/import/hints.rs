//! What can be done about a node that cannot be quantized.

/// Operators by what helps, in the words of who exports networks.
const HINTS: [(&[&str], &str); 8] = [
    (
        &[
            "HardSwish",
            "HardSigmoid",
            "Sigmoid",
            "Silu",
            "Swish",
            "Gelu",
            "Erf",
            "Tanh",
            "Elu",
            "Celu",
            "Mish",
            "Selu",
        ],
        "only ReLU, ReLU6 and Clip from 0 have an integer form here: train the network with one of them",
    ),
    (
        &["LeakyRelu", "PRelu"],
        "a slope below 0 has no integer form here: train the network with ReLU or ReLU6",
    ),
    (
        &["Concat", "Split", "Slice", "Gather", "Transpose", "DepthToSpace", "SpaceToDepth"],
        "channels are not joined, cut or moved here: sums of values (as in ResNet and MobileNet) are understood",
    ),
    (
        &["Mul", "Div", "Sub", "Pow", "Sqrt", "Neg"],
        "factors that are constant belong into the layer before: simplify the model when exporting it; gates (squeeze and \
         excitation) are not understood",
    ),
    (
        &["LayerNormalization", "InstanceNormalization", "GroupNormalization", "LRN", "LpNormalization"],
        "only batch norms can be folded into integers: train the network with them",
    ),
    (
        &["ConvTranspose", "Resize", "Upsample", "Attention", "LSTM", "GRU", "NonMaxSuppression"],
        "only networks that classify whole images, of convolutions, sums and pools, are understood",
    ),
    (
        &["QuantizeLinear", "DequantizeLinear", "QLinearConv", "ConvInteger", "FusedConv"],
        "the file is quantized or optimised for one runtime already: give the float network as it was exported",
    ),
    (
        &["If", "Loop", "Scan", "Shape", "Cast", "Unsqueeze", "Expand", "Where", "ConstantOfShape", "Range"],
        "the graph computes with shapes: export it for one image size and simplify it (`onnxsim`)",
    ),
];

/// What is understood of operators that are, by their names.
const LIMITS: [(&[&str], &str); 8] = [
    (
        &["Conv"],
        "understood: kernels that reach up to 31 pixels, one stride for both directions, padding that leaves the image \
         square, up to 32 groups or one per channel, constant float weights inside the file",
    ),
    (
        &["Pad"],
        "understood: constant zeros around an image, up to 31 on a side, in front of a convolution or a pool",
    ),
    (
        &["MaxPool", "AveragePool"],
        "understood: square windows, no dilation, padding that leaves the image square; in averages the same on all sides \
         and counted, also where `ceil_mode` asks for it",
    ),
    (
        &["Gemm", "MatMul"],
        "understood: constant float weights on flattened or pooled features, an image of up to 31² in front of them",
    ),
    (
        &["Relu", "Clip", "BatchNormalization"],
        "understood: Relu and Clip from 0 to a positive number behind a convolution, a sum or a pool, batch norm directly \
         behind a convolution, where nothing else reads the value in between",
    ),
    (
        &["Add"],
        "understood: two values of the same shape, or a bias for every output of the layer before; the image cannot be added",
    ),
    (
        &["Flatten", "Reshape", "Squeeze", "ReduceMean"],
        "understood: to [N, features] behind the last pool or convolution, and means over height and width",
    ),
    (&["Constant"], "understood: `value`, `value_float(s)` and `value_int(s)`"),
];

/// For any other.
const ANY: &str = "understood: Conv, BatchNormalization, Relu, Clip from 0, Add, MaxPool, AveragePool, GlobalAveragePool, \
                   ReduceMean, Flatten, Reshape, Gemm, MatMul";

/// What to do about an operator.
pub(crate) fn hint(operator: &str) -> &'static str {
    let known = HINTS.iter().chain(&LIMITS).find(|(operators, _)| operators.contains(&operator));
    known.map_or(ANY, |(_, hint)| hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operator_has_one_hint() {
        let mut all: Vec<&str> =
            HINTS.iter().chain(&LIMITS).flat_map(|(names, _)| names.iter().copied()).collect();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
        assert!(hint("LeakyRelu").contains("slope") && hint("Einsum") == ANY);
    }
}
