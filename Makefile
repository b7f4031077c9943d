# One word for each thing a contributor does; CI runs the same commands (.ci/run).
PYTHON ?= python3

.PHONY: check test bench bench-vs-pytorch golden runtime

check:              ## formatting, lints and documentation, warnings denied
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps

test:               ## all tests
	cargo test --release --workspace

bench:              ## the engine's step, each op, and the machine's roofline
	cargo bench -p sartor-engine -- step

bench-vs-pytorch:   ## the engine beside PyTorch, alternating; needs `pip install torch`
	$(PYTHON) reference/bench_vs_pytorch.py --mode eager eager-nhwc compile compile-nhwc
	$(PYTHON) reference/layers_vs_pytorch.py

golden:             ## remake the golden files from PyTorch; needs `pip install torch`
	$(PYTHON) reference/golden_ops.py
	$(PYTHON) reference/golden_network.py

runtime:            ## ONNX Runtime in .runtime, for `sartor verify`
	scripts/install_runtime.sh .runtime
