//! What is not read, and what the message says.

use super::*;

#[test]
fn what_is_not_understood_is_named() {
    struct Case {
        nodes: Nodes,
        message: &'static str,
    }
    for case in [
        Case {
            nodes: fixtures::chain(1, false).operator("stem.relu", "HardSwish"),
            message: "node `stem.relu` (HardSwish): is not among the operators that can be quantized",
        },
        Case {
            nodes: fixtures::chain(1, false).opset(5),
            message: "the ONNX graph cannot be used: operator set 5, expected 7 to 26",
        },
        Case {
            nodes: fixtures::chain(1, false).image(&[1, 3, 12, 12]),
            message: "the ONNX graph cannot be used: input `image` is [1, 3, 12, 12], expected [N, 2, 12, 12] as the images are",
        },
        Case {
            nodes: fixtures::chain(1, false).external("stem.weight"),
            message: "node `stem` (Conv): constant `stem.weight` in a file of its own; save the model with its weights inside",
        },
        Case {
            nodes: fixtures::chain(1, false).without("classifier"),
            message: "the graph ends in `pool`, expected one output from a fully connected layer on pooled features",
        },
    ] {
        let error = read(case.nodes).unwrap_err();
        assert!(error.to_string().ends_with(case.message), "{error}");
    }
}

/// Every refusal names node and operator, and says what would do.
#[test]
fn refusals_name_node_operator_and_a_way_on() {
    let (chain, plain, groups) =
        (|| fixtures::chain(1, false), || fixtures::plain(1), || fixtures::groups(1));
    for (nodes, message, hint) in [
        (
            chain().operator("spread.relu", "LeakyRelu"),
            "`spread.relu` (LeakyRelu): is not among",
            "a slope below 0",
        ),
        (chain().operator("last.relu", "Sigmoid"), "`last.relu` (Sigmoid): is not among", "only ReLU, ReLU6"),
        (plain().operator("second.add", "Concat"), "`second.add` (Concat): is not among", "sums of values"),
        (plain().operator("second.add", "Mul"), "`second.add` (Mul): is not among", "gates"),
        (
            plain().operator("first.relu", "Einsum"),
            "`first.relu` (Einsum): is not among",
            "understood: Conv,",
        ),
        (
            chain().integers("stem", "dilations", &[20, 20]),
            "`stem` (Conv): a kernel of 3, 20 apart",
            "reach up to",
        ),
        (chain().integers("stem", "dilations", &[0, 1]), "`stem` (Conv): `dilations` [0, 1]", "reach up to"),
        (
            chain().framed("spread.relu", [1; 4]),
            "`spread.relu` (Relu): zeros around its input",
            "behind a convolution",
        ),
        (chain().framed("spread", [-1; 4]), "`spread.frame` (Pad): `pads` [0, 0, -1", "constant zeros"),
        (
            chain().integers("stem", "strides", &[1, 2]),
            "`stem` (Conv): `strides` [1, 2]",
            "one stride for both",
        ),
        (
            chain().integers("stem", "pads", &[3; 4]),
            "`stem` (Conv): a kernel of 3 with padding",
            "reach up to",
        ),
        (
            chain().integers("stem", "pads", &[0, 1, 0, 0]),
            "`stem` (Conv): a kernel of 3 with padding [0, 1, 0, 0] that no",
            "reach up to",
        ),
        (chain().integers("stem", "pads", &[-1; 4]), "`stem` (Conv): `pads` [-1", "reach up to"),
        (
            groups().integers("halves", "group", &[3]),
            "`halves` (Conv): weights [12, 4, 3, 3] in 3 groups",
            "groups",
        ),
        (
            groups().integers("halves", "group", &[-2]),
            "`halves` (Conv): weights [12, 4, 3, 3] in 0",
            "groups",
        ),
        (
            plain().integers("first.pool", "pads", &[0, 1, 1, 0]),
            "`first.pool` (MaxPool): a pool with",
            "leaves the image square",
        ),
        (
            plain().integers("second.pool", "ceil_mode", &[1]).integers(
                "second.pool",
                "kernel_shape",
                &[3, 3],
            ),
            "`second.pool` (AveragePool): a mean over windows with padding 0 before",
            "averages",
        ),
        (
            plain().integers("second.pool", "pads", &[1; 4]),
            "`second.pool` (AveragePool): a mean over",
            "counted",
        ),
        (plain().integers("full", "transA", &[1]), "`full` (Gemm): factors", "flattened or pooled"),
        (plain().integers("flat", "axis", &[2]), "`flat` (Flatten): another shape", "[N, features]"),
        (chain().operator("stem.relu", "MaxPool"), "`stem.relu` (MaxPool): a window of 0", "square windows"),
        (chain().external("last.bias"), "`last` (Conv): constant `last.bias` in a file", "inside the file"),
    ] {
        let error = read(nodes).unwrap_err();
        assert!(error.to_string().starts_with(&format!("node {message}")), "{error}");
        assert!(error.hint().is_some_and(|own| own.contains(hint)), "{error}: {:?}", error.hint());
    }
}
