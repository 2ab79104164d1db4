# Recipes run from the top of the tree, wherever `just` is called; arguments with spaces arrive as they were typed.

set positional-arguments

just := quote(just_executable()) + " --justfile " + quote(justfile())
prepare := "cargo run --release --bin prepare-data --"
train := "cargo run --release --bin train --"
everyday := "cargo run --release --bin"

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
        && cargo run --release --bin plot-loss -- "$run"

# TinyStories, 12M: fetch, learn the tokenizer, tokenize, train, evaluate, plot (--data FILES for text of your own)
[group('experiments')]
[no-exit-message]
exp-tinystories *flags:
    @{{ just }} text-experiment tinystories "$@"

# The same without evaluation and plot; flags as in `train --help`
[group('experiments')]
[no-exit-message]
train-tinystories *flags:
    @{{ just }} train-on-text tinystories "$@"

# FineWeb-Edu, 95M: says what it will fetch, need and take, then does it
[group('experiments')]
[no-exit-message]
exp-baseline *flags:
    @{{ just }} text-experiment baseline-95m "$@"

# The same without evaluation and plot; flags as in `train --help`
[group('experiments')]
[no-exit-message]
train-baseline *flags:
    @{{ just }} train-on-text baseline-95m "$@"

# Tiny Shakespeare by characters, 4M
[group('experiments')]
[no-exit-message]
exp-shakespeare *flags:
    @{{ just }} text-experiment shakespeare "$@"

# What each part of BitNet b1.58 does: seven small models on tiny Shakespeare
[group('experiments')]
[no-exit-message]
exp-ablations *flags: setup
    {{ prepare }} ablations "$@" > /dev/null
    {{ train }} ablations --run-id ablation-ternary "$@"
    {{ train }} ablations --run-id ablation-full-precision --set model.bit_linear.weights=none --set model.bit_linear.activations=none "$@"
    {{ train }} ablations --run-id ablation-sign --set model.bit_linear.weights=sign "$@"
    {{ train }} ablations --run-id ablation-int4 --set model.bit_linear.activations=int4_absmean "$@"
    {{ train }} ablations --run-id ablation-silu --set model.hidden_act=silu "$@"
    {{ train }} ablations --run-id ablation-no-sub-norms --set model.sub_norms=false "$@"
    {{ train }} ablations --run-id ablation-norms-inside --set model.bit_linear.norm=inside "$@"
    {{ everyday }} plot-loss -- ablation-ternary ablation-full-precision ablation-sign ablation-int4 ablation-silu ablation-no-sub-norms ablation-norms-inside --smooth 0.98 -o runs/ablations.png

# Fetch a corpus, learn its tokenizer, tokenize it (--data FILES, --tokenizer FILE, --dry-run; another call goes on)
[group('data and models')]
[no-exit-message]
prepare-data *flags:
    @{{ prepare }} "$@"

# Make a tokenizer.json from text (--data FILES --vocab-size 2048 -o tokenizer.json)
[group('data and models')]
[no-exit-message]
train-tokenizer *flags:
    @cargo run --release --bin train-tokenizer -- "$@"

# What an experiment takes: steps, memory, hours and cost (--gpu rtx3060, --gpu list)
[group('data and models')]
[no-exit-message]
estimate *flags:
    @{{ everyday }} estimate -- "$@"

# A blank ternary model folder (--params 750M)
[group('data and models')]
[no-exit-message]
new-model *flags: setup
    @cargo run --release --bin new-model -- "$@"

[private]
[no-exit-message]
text-experiment name *flags: setup
    name=$1 && shift \
        && {{ prepare }} "$name" "$@" > /dev/null \
        && run=$({{ train }} "$name" "$@") \
        && if [ ! -d "$run" ]; then printf '%s\n' "$run"; exit; fi \
        && cargo run --release --bin evaluate -- "$run" \
        && {{ everyday }} plot-loss -- "$run"

[private]
[no-exit-message]
train-on-text name *flags: setup
    name=$1 && shift && {{ prepare }} "$name" "$@" > /dev/null && {{ train }} "$name" "$@"

# Score a run on held-out problems (id, prefix or path; the newest run without one)
[group('runs')]
[no-exit-message]
evaluate *args: setup
    cargo run --release --bin evaluate -- "$@"

# Where a run stands; all runs without a name (--watch, --json)
[group('runs')]
[no-exit-message]
check-status *args:
    @cargo run --release --bin check-status -- "$@"

# Draw the loss of one run or several (-o loss.svg, --smooth 0.9, --terminal)
[group('runs')]
[no-exit-message]
plot-loss *args:
    @cargo run --release --bin plot-loss -- "$@"

# Talk to a run's newest checkpoint, a folder, a file or a model of the Hugging Face hub, without libtorch
[group('runs')]
[no-exit-message]
chat *args:
    @cargo run --release --bin chat -- "$@"

# Continue a prompt with the packed engine, without libtorch (--model ID or FOLDER, --prompt TEXT)
[group('runs')]
[no-exit-message]
generate *flags:
    @cargo run --release --bin generate -- "$@"

# Serve a model by an OpenAI-compatible API, with a page to try it, without libtorch (--model ID or FOLDER, --port 8080)
[group('runs')]
[no-exit-message]
serve *flags:
    @cargo run --release --bin serve -- "$@"

# Write a run or a model folder for others: --to huggingface, packed, blocks or gguf, -o PATH (--dtype bfloat16, --type tq1_0, --force)
[group('data and models')]
[no-exit-message]
export *args:
    @cargo run --release --bin export -- "$@"

# Take a model folder in, of any public layout (SOURCE, -o models/NAME, --tokenizer FILE)
[group('data and models')]
[no-exit-message]
import *args:
    @cargo run --release --bin import -- "$@"

# What a model holds: shapes, scales, shares of -1, 0 and +1, sizes (--json)
[group('data and models')]
[no-exit-message]
inspect *args:
    @cargo run --release --bin inspect -- "$@"

# All the tests, one file (tests/resume.rs), or by name (-k quantization)
[group('development')]
[no-exit-message]
test *args: setup
    @scripts/run-tests "$@"

# Clippy: with everything, for text without libtorch, and with neither
[group('development')]
[no-exit-message]
lint: setup
    cargo clippy --release --all-targets --features hub,parquet,serve -- -D warnings
    cargo clippy --release --no-default-features --features hub,parquet,serve --all-targets -- -D warnings
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

# Prompts and generation, tokens a second, and the share of the machine's limits (--model ID or FOLDER, --random 2b4t, --against-llama-cpp)
[group('development')]
[no-exit-message]
bench-inference *flags:
    @case " $* " in *' --python'* | *' --help '*) ;; *' --against-llama-cpp '*) scripts/setup-llama-cpp ;; esac
    @cargo run --release --bin bench-inference -- "$@"

# One training step against PyTorch's, by turns (--configs arithmetic, --rounds 6, --out FILE, --profile, --without-pytorch)
[group('development')]
[no-exit-message]
bench-training *flags: setup
    @case " $* " in *' --profile '* | *' --without-pytorch '* | *' --python'* | *' --help '*) ;; *) scripts/setup-pytorch ;; esac
    cargo bench --bench training -- "$@"

# Check a GPU against the CPU and measure it, in 8 minutes (--device cuda, -o DIR); without cargo: --binary FILE on an installed PyTorch 2.11
[group('development')]
[no-exit-message]
check-gpu *flags:
    @if command -v cargo > /dev/null; then {{ just }} setup && cargo build --release --bin check-gpu; fi
    @scripts/check-gpu "$@"

# Print the shell completions of every binary (bash, zsh, fish)
[group('development')]
completions shell: setup
    @for binary in train evaluate check-gpu chat generate bench-inference check-status plot-loss estimate prepare-data train-tokenizer new-model serve export import inspect; do cargo run --release --bin "$binary" -- --completions "$1"; done
