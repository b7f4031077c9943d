//! What may be chosen: search spaces, subnets, quantization policies, candidates and the workloads they lower to.
