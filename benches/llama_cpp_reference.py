"""The other side of `just bench-inference --against-llama-cpp`: a GGUF file in llama.cpp, by way of llama-cpp-python's bindings.

Each line on stdin is `prompt COUNT THREADS` or `generate COUNT THREADS`; the answer on stdout is one line, the seconds that it took. Who is
measured when is the caller's business.
"""

import ctypes
import sys
import time

import llama_cpp as llama


@llama.llama_log_callback
def errors_alone(level, text, user_data):
    """llama.cpp tells of every tensor otherwise; 4 are errors."""
    if level == 4:
        sys.stderr.write(text.decode(errors="replace"))


def load(path, context):
    model_options = llama.llama_model_default_params()
    model_options.n_gpu_layers = 0
    model = llama.llama_model_load_from_file(path.encode(), model_options)
    if not model:
        sys.exit(f"llama.cpp cannot load {path}")
    options = llama.llama_context_default_params()
    options.n_ctx, options.n_batch, options.n_ubatch = context, context, 512
    loaded = llama.llama_init_from_model(model, options)
    if not loaded:
        sys.exit(f"llama.cpp has no room for {context} tokens")
    return model, loaded


def read(context, tokens):
    """Reads `tokens` behind what was read; the logits of the last one are ready then."""
    array = (llama.llama_token * len(tokens))(*tokens)
    status = llama.llama_decode(context, llama.llama_batch_get_one(array, len(tokens)))
    if status != 0:
        sys.exit(f"llama_decode gave {status}")
    return llama.llama_get_logits_ith(context, -1)


def main():
    path, capacity = sys.argv[1], int(sys.argv[2])
    llama.llama_log_set(errors_alone, ctypes.c_void_p(0))
    llama.llama_backend_init()
    model, context = load(path, capacity)
    vocabulary = llama.llama_vocab_n_tokens(llama.llama_model_get_vocab(model))
    print("ready", flush=True)
    for line in sys.stdin:
        kind, count, threads = line.split()
        count, threads = int(count), int(threads)
        llama.llama_set_n_threads(context, threads, threads)
        llama.llama_memory_clear(llama.llama_get_memory(context), True)
        if kind == "prompt":
            tokens = [index * 7919 % vocabulary for index in range(count)]
            start = time.perf_counter()
            read(context, tokens)
        else:
            read(context, [0])
            start = time.perf_counter()
            for index in range(count):
                # Any token takes as long as the likeliest: finding that is not measured here, but in the engine beside.
                read(context, [(index * 7919 + 1) % vocabulary])
        print(time.perf_counter() - start, flush=True)


main()
