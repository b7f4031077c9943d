# One word for each thing a contributor does; CI runs the same commands (.ci/run).
PYTHON ?= python3

.PHONY: check test bench bench-vs-pytorch sanitize arm golden runtime

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

arm:                ## the engine's tests on an emulated Arm processor; needs `gcc-aarch64-linux-gnu`, `qemu-user` and the target of rustup
	CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc \
	CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="qemu-aarch64 -L /usr/aarch64-linux-gnu" \
	cargo test --release -p sartor-engine --target aarch64-unknown-linux-gnu

sanitize:           ## the engine's tests under AddressSanitizer, its safe parts under Miri; needs nightly with `miri` and `rust-src`
	RUSTFLAGS="-Zsanitizer=address" CARGO_TARGET_DIR=target/sanitize cargo +nightly test --release -p sartor-engine --target x86_64-unknown-linux-gnu
	MIRIFLAGS="-Zmiri-disable-isolation" CARGO_TARGET_DIR=target/sanitize cargo +nightly miri test -p sartor-engine --lib -- losses optimizer plan:: sums network arena integer::tests::odd graph

golden:             ## remake the golden files from PyTorch; needs `pip install torch`
	$(PYTHON) reference/golden_ops.py
	$(PYTHON) reference/golden_graphs.py
	$(PYTHON) reference/golden_network.py

runtime:            ## ONNX Runtime in .runtime, for `sartor verify`
	scripts/install_runtime.sh .runtime
