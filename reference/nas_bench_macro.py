#!/usr/bin/env python3
"""NAS-Bench-Macro as pairs: 6,561 networks of 8 blocks, each trained alone three times on CIFAR-10.

Su and others, "Prioritized architecture sampling with Monto-Carlo tree search" (2021); the table is published as
`nas-bench-macro_cifar10.json`, `{"01201020": {"mean_acc": 89.63, …}, …}`, one digit a block.

usage: nas_bench_macro.py nas-bench-macro_cifar10.json FOLDER
writes FOLDER/space.toml and FOLDER/pairs.csv, for `sartor fit --space FOLDER/space.toml --pairs FOLDER/pairs.csv`
"""
import csv
import json
import pathlib
import sys

OPTIONS = ("skip", "k3e3", "k5e6")
STAGES = ((64, 2), (128, 3), (256, 3))
HEAD = """name = "nas-bench-macro"
[input]
size = 32
channels = 3
classes = 10
[stem]
out_channels = 32
stride = 1
"""
TAIL = """[head]
channels = 1280
"""


def space():
    options = ", ".join(f'"{option}"' for option in OPTIONS)
    stage = "[[stage]]\nout_channels = {}\nstride = 2\nblocks = {}\noptions = [{}]\n"
    return HEAD + "".join(stage.format(channels, blocks, options) for channels, blocks in STAGES) + TAIL


def main():
    table, folder = json.loads(pathlib.Path(sys.argv[1]).read_text()), pathlib.Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "space.toml").write_text(space())
    with open(folder / "pairs.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([f"block_{index}" for index in range(8)] + ["accuracy"])
        for name, entry in table.items():
            writer.writerow([OPTIONS[int(digit)] for digit in name] + [f"{entry['mean_acc'] / 100:.6f}"])


if len(sys.argv) != 3:
    sys.exit(__doc__)
main()
