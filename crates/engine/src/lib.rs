//! The CPU training and inference engine: fused convolution layers with hand-written backward passes.
