//! The `sartor` command: flags and glue only.

fn main() {}
