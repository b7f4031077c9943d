"""Runs a TFLite file: every image in the reference kernels and as deployed (XNNPACK), some with all their tensors.

usage: python -c SCRIPT MODEL PIXELS FOLDER PROBES RUNS THREADS [TENSOR...]
Writes FOLDER/{reference,deployed}.logits and FOLDER/probes; prints one JSON object.
"""
import json
import sys
import time
from importlib.metadata import version

import numpy
from ai_edge_litert.interpreter import Interpreter, OpResolverType

model, pixels, folder, probes, runs, threads = sys.argv[1:4] + [int(text) for text in sys.argv[4:7]]
names = sys.argv[7:]


def load(resolver, **more):
    interpreter = Interpreter(model, num_threads=threads, experimental_op_resolver_type=resolver, **more)
    interpreter.allocate_tensors()
    return interpreter


def run(interpreter, image):
    interpreter.set_tensor(source["index"], image[None])
    interpreter.invoke()
    return interpreter.get_tensor(target["index"])


reference = load(OpResolverType.BUILTIN_REF)
source, target = reference.get_input_details()[0], reference.get_output_details()[0]
images = numpy.fromfile(pixels, numpy.uint8).reshape(-1, *source["shape"][1:])
deployed = load(OpResolverType.AUTO)
for name, interpreter in [("reference", reference), ("deployed", deployed)]:
    numpy.concatenate([run(interpreter, image) for image in images]).tofile(f"{folder}/{name}.logits")

probe = load(OpResolverType.BUILTIN_REF, experimental_preserve_all_tensors=True)
index = {tensor["name"]: tensor["index"] for tensor in probe.get_tensor_details()}
with open(f"{folder}/probes", "wb") as file:
    for image in images[:probes]:
        run(probe, image)
        for name in names:
            file.write(probe.get_tensor(index[name]).tobytes())

milliseconds = []
for _ in range(5 + runs):
    start = time.perf_counter()
    run(deployed, images[0])
    milliseconds.append(1e3 * (time.perf_counter() - start))

tensors = {tensor["index"]: tensor["name"] for tensor in deployed.get_tensor_details()}
operators = [
    (operator["op_name"], [int(i) for i in operator["inputs"]], [int(i) for i in operator["outputs"]])
    for operator in deployed._get_ops_details()
]
writers = {out: place for place, (name, _, outs) in enumerate(operators) if name != "DELEGATE" for out in outs}
delegated = set()
for name, inputs, outputs in operators:
    open_tensors = list(outputs) if name == "DELEGATE" else []
    while open_tensors:
        place = writers.get(open_tensors.pop())
        if place is None or place in delegated:
            continue
        delegated.add(place)
        open_tensors += [tensor for tensor in operators[place][1] if tensor not in inputs]
executed = {
    tensors.get(outs[0], ""): f"{name} in XNNPACK" if place in delegated else name
    for place, (name, _, outs) in enumerate(operators)
    if name != "DELEGATE" and outs
}
print(json.dumps({"version": version("ai-edge-litert"), "milliseconds": milliseconds[5:], "executed": executed}))
