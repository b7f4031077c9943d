//! How accurate a candidate is: elastic weights, progressive shrinking, quantization-aware fine-tuning.
