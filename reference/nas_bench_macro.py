#!/usr/bin/env python3
"""NAS-Bench-Macro as pairs: 6,561 networks of 8 blocks, each trained alone three times on CIFAR-10.

Su and others, "Prioritized architecture sampling with Monto-Carlo tree search" (2021); the table is published as
`nas-bench-macro_cifar10.json`, `{"01201020": {"mean_acc": 89.63, …}, …}`, one digit a block.

usage: nas_bench_macro.py nas-bench-macro_cifar10.json PAIRS.csv
then: sartor fit --space crates/predictor/examples/nas-bench-macro.toml --pairs PAIRS.csv --samples 200
"""
import csv
import json
import sys

OPTIONS = ("skip", "k3e3", "k5e6")
BLOCKS = 8


def main(table, pairs):
    with open(table) as file:
        networks = json.load(file)
    with open(pairs, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([f"block_{index}" for index in range(BLOCKS)] + ["accuracy"])
        for name, entry in networks.items():
            writer.writerow([OPTIONS[int(digit)] for digit in name] + [f"{entry['mean_acc'] / 100:.6f}"])


if len(sys.argv) != 3:
    sys.exit(__doc__)
main(*sys.argv[1:])
