# Recipes run from the top of the tree, wherever `just` is called; arguments with spaces arrive as they were typed.

set positional-arguments

# The recipes, in groups.
[private]
default:
    @"{{ just_executable() }}" --justfile "{{ justfile() }}" --list --unsorted

# Install libtorch into .libtorch/ (--cpu, --cuda; a second call does nothing)
[group('start here')]
[no-exit-message]
setup *flags:
    @command -v python3 > /dev/null || { echo 'error: python3 is missing; hint: sudo apt-get install -y python3 python3-pip (or: brew install python)' >&2; exit 2; }
    @scripts/setup-libtorch "$@"

# Train the arithmetic model for a few steps, to see it work
[group('start here')]
[no-exit-message]
train-simple num_steps="100" *flags: setup
    cargo run --release --bin train -- experiments/arithmetic --num-steps "$@"

# Train the arithmetic model in full; flags as in `train --help`
[group('experiments')]
[no-exit-message]
train-arithmetic *flags: setup
    cargo run --release --bin train -- experiments/arithmetic "$@"

# The whole arithmetic experiment: train, evaluate on held-out problems, plot
[group('experiments')]
[no-exit-message]
exp-arithmetic *flags: setup
    run=$(cargo run --release --bin train -- experiments/arithmetic "$@") \
        && if [ ! -d "$run" ]; then printf '%s\n' "$run"; exit; fi \
        && cargo run --release --bin evaluate -- "$run" \
        && cargo run --profile everyday --no-default-features --bin plot-loss -- "$run"

# Score a run on held-out problems (id, prefix or path; the newest run without one)
[group('runs')]
[no-exit-message]
evaluate *args: setup
    cargo run --release --bin evaluate -- "$@"

# Where a run stands; all runs without a name (--watch, --json)
[group('runs')]
[no-exit-message]
check-status *args:
    @cargo run --profile everyday --no-default-features --bin check-status -- "$@"

# Draw the loss of one run or several (-o loss.svg, --smooth 0.9, --terminal)
[group('runs')]
[no-exit-message]
plot-loss *args:
    @cargo run --profile everyday --no-default-features --bin plot-loss -- "$@"

# Talk to a run's newest checkpoint
[group('runs')]
[no-exit-message]
chat *args: setup
    @cargo run --release --bin chat -- "$@"

# All the tests, one file (tests/resume.rs), or by name (-k quantization)
[group('development')]
[no-exit-message]
test *args: setup
    @scripts/run-tests "$@"

# Clippy, both with libtorch and without
[group('development')]
[no-exit-message]
lint: setup
    cargo clippy --release --all-targets -- -D warnings
    cargo clippy --release --no-default-features --all-targets -- -D warnings

# Format every source file
[group('development')]
format:
    cargo fmt

# Kill a trainer at random moments and resume it, `kills` times
[group('development')]
[no-exit-message]
kill-loop kills="20": setup
    BITNET_KILLS="$1" cargo test --release --test kill_loop -- --nocapture

# One training step against PyTorch's, by turns (--configs arithmetic, --rounds 6, --out FILE, --profile, --without-pytorch)
[group('development')]
[no-exit-message]
bench-training *flags: setup
    @case " $* " in *' --profile '* | *' --without-pytorch '* | *' --python'* | *' --help '*) ;; *) scripts/setup-pytorch ;; esac
    cargo bench --bench training -- "$@"

# Print the shell completions of every binary (bash, zsh, fish)
[group('development')]
completions shell: setup
    @for binary in train evaluate chat check-status plot-loss; do cargo run --release --bin "$binary" -- --completions "$1"; done
