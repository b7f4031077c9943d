//! How it ships: the quantized graph, the integer reference executor, ONNX and verification.
