# Recipes run from the top of the tree, wherever `just` is called; arguments with spaces arrive as they were typed.

set positional-arguments

# Recipes run at the top of the tree; paths that a user types are those of where the user is.
export BITNET_INVOCATION_DIR := invocation_directory()

just := quote(just_executable()) + " --justfile " + quote(justfile())
# One profile and one set of features for everything, so that no recipe compiles what another has compiled. Where libtorch is not
# installed, recipes that do without it are built without it.
has_libtorch := if env("LIBTORCH", "") != "" { "true" } else { path_exists(".libtorch/setup.json") }
run := "cargo run --release --bin"
run_anywhere := if has_libtorch == "true" { run } else { "cargo run --release --no-default-features --bin" }
ablations := "ablation-ternary ablation-full-precision ablation-sign ablation-int4 ablation-silu ablation-no-sub-norms ablation-norms-inside"

# The recipes, in groups.
[private]
default:
    @"{{ just_executable() }}" --justfile "{{ justfile() }}" --list --unsorted

# Install libtorch into .libtorch/ (--cpu, --cuda; a second call does nothing)
[group('start here')]
[no-exit-message]
setup *flags:
    @command -v python3 > /dev/null || { echo 'error: python3 is missing; hint: sudo apt-get install -y python3 python3-pip (or: brew install python)' >&2; exit 2; }
    @if [ ! -e .libtorch/setup.json ]; then cargo fetch --quiet --locked --target "$(rustc -vV | sed -n 's/^host: //p')" 2> /dev/null & fi; scripts/setup-libtorch "$@" && wait

# Check this machine: tools, libtorch, processor, memory, disk; with what to type where something is wrong (--json)
[group('start here')]
[no-exit-message]
doctor *flags:
    @command -v cc > /dev/null || { echo 'error: there is no C compiler; hint: sudo apt-get install -y gcc g++ (on macOS: xcode-select --install)' >&2; exit 1; }
    @if scripts/setup-libtorch --check 2> /dev/null; then features=; else features=--no-default-features; fi; cargo run --release $features --bin doctor -- "$@"

# Train the arithmetic model for a few steps, to see it work
[group('start here')]
[no-exit-message]
train-simple num_steps="100" *flags: setup
    {{ run }} train -- experiments/arithmetic --num-steps "$@"

# Train an experiment of your own (experiments/mine, or the path of a config.yaml); flags as in `train --help`
[group('experiments')]
[no-exit-message]
train *flags: setup
    {{ run }} train -- "$@"

# Train the arithmetic model in full; flags as in `train --help`
[group('experiments')]
[no-exit-message]
train-arithmetic *flags: setup
    {{ run }} train -- experiments/arithmetic "$@"

# The whole arithmetic experiment: train, evaluate on held-out problems, plot
[group('experiments')]
[no-exit-message]
exp-arithmetic *flags: setup
    run=$({{ run }} train -- experiments/arithmetic "$@") \
        && if [ ! -d "$run" ]; then printf '%s\n' "$run"; exit; fi \
        && {{ run }} evaluate -- "$run" \
        && {{ run }} plot-loss -- "$run"

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

# What each part of BitNet b1.58 does: seven small models on tiny Shakespeare, and a table of them; another call goes on
[group('experiments')]
[no-exit-message]
exp-ablations *flags: setup
    {{ run }} prepare-data -- ablations "$@" > /dev/null
    {{ run }} train -- ablations --continue --run-id ablation-ternary "$@"
    {{ run }} train -- ablations --continue --run-id ablation-full-precision --set model.bit_linear.weights=none --set model.bit_linear.activations=none "$@"
    {{ run }} train -- ablations --continue --run-id ablation-sign --set model.bit_linear.weights=sign "$@"
    {{ run }} train -- ablations --continue --run-id ablation-int4 --set model.bit_linear.activations=int4_absmean "$@"
    {{ run }} train -- ablations --continue --run-id ablation-silu --set model.hidden_act=silu "$@"
    {{ run }} train -- ablations --continue --run-id ablation-no-sub-norms --set model.sub_norms=false "$@"
    {{ run }} train -- ablations --continue --run-id ablation-norms-inside --set model.bit_linear.norm=inside "$@"
    @case " $* " in *' --dry-run '*) ;; *) {{ run }} plot-loss -- {{ ablations }} --smooth 0.98 -o runs/ablations.png && {{ run }} check-status -- {{ ablations }} ;; esac

# Fetch a corpus, learn its tokenizer, tokenize it (--data FILES, --tokenizer FILE, --dry-run; another call goes on)
[group('data and models')]
[no-exit-message]
prepare-data *flags:
    @{{ run_anywhere }} prepare-data -- "$@"

# Make a tokenizer.json from text (--data FILES --vocab-size 2048 -o tokenizer.json)
[group('data and models')]
[no-exit-message]
train-tokenizer *flags:
    @{{ run_anywhere }} train-tokenizer -- "$@"

# What an experiment takes: steps, memory, hours and cost (--gpu rtx3060, --gpu list)
[group('data and models')]
[no-exit-message]
estimate *flags:
    @{{ run_anywhere }} estimate -- "$@"

# A blank ternary model folder (--params 750M)
[group('data and models')]
[no-exit-message]
new-model *flags: setup
    @{{ run }} new-model -- "$@"

[private]
[no-exit-message]
text-experiment name *flags: setup
    name=$1 && shift \
        && {{ run }} prepare-data -- "$name" "$@" > /dev/null \
        && run=$({{ run }} train -- "$name" "$@") \
        && if [ ! -d "$run" ]; then printf '%s\n' "$run"; exit; fi \
        && {{ run }} evaluate -- "$run" \
        && {{ run }} plot-loss -- "$run"

[private]
[no-exit-message]
train-on-text name *flags: setup
    name=$1 && shift && {{ run }} prepare-data -- "$name" "$@" > /dev/null && {{ run }} train -- "$name" "$@"

# Score a run on held-out problems (id, prefix or path; the newest run without one)
[group('runs')]
[no-exit-message]
evaluate *args: setup
    {{ run }} evaluate -- "$@"

# Where a run stands; all runs without a name (--watch, --json)
[group('runs')]
[no-exit-message]
check-status *args:
    @{{ run_anywhere }} check-status -- "$@"

# Draw the loss of one run or several (-o loss.svg, --smooth 0.9, --terminal)
[group('runs')]
[no-exit-message]
plot-loss *args:
    @{{ run_anywhere }} plot-loss -- "$@"

# Talk to a run's newest checkpoint, a folder, a file or a model of the Hugging Face hub
[group('runs')]
[no-exit-message]
chat *args:
    @{{ run_anywhere }} chat -- "$@"

# Continue a prompt with the packed engine (--model ID or FOLDER, --prompt TEXT)
[group('runs')]
[no-exit-message]
generate *flags:
    @{{ run_anywhere }} generate -- "$@"

# Serve a model by an OpenAI-compatible API, with a page to try it (ID or FOLDER, --port 8080)
[group('runs')]
[no-exit-message]
serve *flags:
    @{{ run_anywhere }} serve -- "$@"

# Write a run or a model folder for others: --to huggingface, packed, blocks or gguf, -o PATH (--dtype bfloat16, --type tq1_0, --force)
[group('data and models')]
[no-exit-message]
export *args:
    @{{ run_anywhere }} export -- "$@"

# Take a model folder in, of any public layout (SOURCE, -o models/NAME, --tokenizer FILE)
[group('data and models')]
[no-exit-message]
import *args:
    @{{ run_anywhere }} import -- "$@"

# What a model holds: shapes, scales, shares of -1, 0 and +1, sizes (--json)
[group('data and models')]
[no-exit-message]
inspect *args:
    @{{ run_anywhere }} inspect -- "$@"

# All the tests, one file (tests/resume.rs), by name (-k quantization), as a lesser processor would (--as avx512, avx2, portable)
[group('development')]
[no-exit-message]
test *args: setup
    @scripts/run-tests "$@"

# The tests of the ARM kernels, compiled for 64-bit ARM and run in qemu-user; what is missing is named
[group('development')]
[no-exit-message]
test-arm *args:
    @scripts/run-tests --arm "$@"

# Clippy, with libtorch and without
[group('development')]
[no-exit-message]
lint: setup
    cargo clippy --release --all-targets -- -D warnings
    cargo clippy --release --no-default-features --all-targets -- -D warnings

# Every binary that needs no libtorch, to be put on any machine: target/without-libtorch/release/
[group('development')]
[no-exit-message]
build-without-libtorch:
    cargo build --release --no-default-features --bins --target-dir target/without-libtorch

# Format every source file
[group('development')]
format:
    cargo fmt --all

# Kill a trainer at random moments and resume it, `kills` times
[group('development')]
[no-exit-message]
kill-loop kills="20": setup
    BITNET_KILLS="$1" cargo test --release --test runs kill_loop:: -- --nocapture

# Prompts and generation, tokens a second, and the share of the machine's limits (--model ID or FOLDER, --random 2b4t, --against-llama-cpp)
[group('development')]
[no-exit-message]
bench-inference *flags:
    @case " $* " in *' --python'* | *' --help '*) ;; *' --against-llama-cpp '*) scripts/setup-llama-cpp ;; esac
    @{{ run_anywhere }} bench-inference -- "$@"

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

# Print shell completions of the recipes (bash, zsh, fish); `--completions` of a binary prints that binary's
[group('development')]
completions shell:
    @{{ just }} --completions "$1"
