//! # Fixed networks as workloads
