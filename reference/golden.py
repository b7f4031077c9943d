"""What the golden scripts share: where the files go, how numbers are written, how a file is described."""
import json
from pathlib import Path

import numpy as np
import torch

FOLDER = Path(__file__).resolve().parent.parent / "crates" / "engine" / "tests" / "golden"


def numbers(values):
    """Flat list of the shortest decimals that read back as the same 32-bit floats."""
    if isinstance(values, torch.Tensor):
        values = values.detach().numpy()
    flat = np.asarray(values, dtype=np.float32).reshape(-1)
    return [_short(v) for v in flat]


def _short(value):
    text = np.format_float_scientific(value, unique=True, trim="0")
    number = float(text)
    return int(number) if number == int(number) and abs(number) < 1e6 else number


def relative_error(got, want):
    """Largest difference as a share of the largest wanted magnitude."""
    difference = (got.double() - want.double()).abs().max().item()
    return difference / max(want.abs().max().item(), 1e-30)


def write(name, script, seed, content):
    """One golden file, compact, with its provenance first."""
    header = {"script": f"reference/{script}", "torch": torch.__version__, "seed": seed}
    FOLDER.mkdir(parents=True, exist_ok=True)
    path = FOLDER / f"{name}.json"
    text = json.dumps(header | content, separators=(",", ":"))
    path.write_text(text.replace('],"', '],\n"') + "\n")
    print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB, seed {seed}")
