#!/usr/bin/env python3
"""The engine beside PyTorch on the reference network: alternating runs, and the ratio of their speeds.

Every round runs the engine's step benchmark once, then PyTorch once a mode, so that a machine that slows down slows all of
them. One JSON line a run on standard error, the summary as one JSON line on standard output: median images per second of
each, and for each PyTorch mode and for the fastest of a round (`best`) the median over the rounds of engine / PyTorch.
The last lines on standard error say it in words.

usage: bench_vs_pytorch.py [--rounds 5] [--threads 2] [--steps 12] [--mode eager-nhwc ...]
environment: PYTHON (an interpreter that has torch; default: this one), CARGO (default: cargo),
ENGINE_BENCH (a benchmark binary already built; default: cargo builds it)
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

from reference_network import MODES

HERE = Path(__file__).resolve().parent
SPEEDS = {"training": "train_images_per_second", "inference": "infer_images_per_second"}


def build_engine():
    """Path of the engine's benchmark binary, built by cargo."""
    command = [os.environ.get("CARGO", "cargo"), "bench", "-q", "-p", "sartor-engine", "--bench", "step", "--no-run",
               "--message-format=json"]
    output = subprocess.run(command, cwd=HERE.parent, check=True, stdout=subprocess.PIPE, text=True).stdout
    messages = (json.loads(line) for line in output.splitlines() if line.startswith("{"))
    found = [m["executable"] for m in messages if m.get("executable") and m["target"]["name"] == "step"]
    if not found:
        raise SystemExit("error: cargo built no benchmark named `step` in sartor-engine")
    return found[-1]


def first_step_line(command, who):
    """The first JSON line named `step` that a command prints; the command is ended there."""
    with subprocess.Popen(command, cwd=HERE, stdout=subprocess.PIPE, text=True) as run:
        for line in run.stdout:
            if line.startswith("{") and json.loads(line).get("name") == "step":
                run.kill()
                print(line, end="", file=sys.stderr, flush=True)
                return json.loads(line)
    raise SystemExit(f"error: {who} printed no JSON line named `step`: {' '.join(map(str, command))}")


def one_round(binary, arguments):
    """Results of one round by name: `engine` and each PyTorch mode."""
    threads = ["--threads", str(arguments.threads)]
    results = {"engine": first_step_line([binary, "step", *threads], "the engine's benchmark")}
    for mode in arguments.mode:
        python = [os.environ.get("PYTHON", sys.executable), HERE / "pytorch_step.py"]
        command = [*python, *threads, "--steps", str(arguments.steps), "--mode", mode]
        results[mode] = first_step_line(command, "PyTorch")
    return results


def summarise(rounds, key):
    """Medians and ratios of one speed."""
    speeds = {name: [r[name][key] for r in rounds] for name in rounds[0]}
    engine = speeds.pop("engine")
    others = speeds | {"best": [max(values) for values in zip(*speeds.values())]}
    return {
        "engine_images_per_second": statistics.median(engine),
        "pytorch_images_per_second": {name: statistics.median(values) for name, values in others.items()},
        "ratio": {name: round(statistics.median(a / b for a, b in zip(engine, values)), 3)
                  for name, values in others.items()},
    }


def in_words(what, speed, arguments):
    """One sentence a person reads."""
    slowest = min(arguments.mode, key=lambda mode: speed["ratio"][mode])
    return (f"{what}: {speed['engine_images_per_second']:.0f} images/s, {speed['ratio'][slowest]:.2f} times PyTorch "
            f"{slowest} ({speed['pytorch_images_per_second'][slowest]:.0f}), {arguments.threads} threads, "
            f"median of {arguments.rounds} rounds")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=12, help="timed steps of a PyTorch run")
    parser.add_argument("--mode", nargs="+", choices=MODES, default=["eager-nhwc"])
    arguments = parser.parse_args()
    binary = os.environ.get("ENGINE_BENCH") or build_engine()
    rounds = [one_round(binary, arguments) for _ in range(arguments.rounds)]
    summary = {"name": "engine_vs_pytorch", "rounds": len(rounds), "threads": arguments.threads,
               "simd": rounds[0]["engine"].get("simd"), "torch": rounds[0][arguments.mode[0]]["torch"]}
    speeds = {what: summarise(rounds, key) for what, key in SPEEDS.items()}
    print(json.dumps(summary | speeds), flush=True)
    for what, speed in speeds.items():
        print(in_words(what, speed, arguments), file=sys.stderr)


if __name__ == "__main__":
    main()
