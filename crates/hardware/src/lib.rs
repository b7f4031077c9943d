//! What a network costs: accelerator specifications, cost models and cost tables.
