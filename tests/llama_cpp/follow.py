"""What llama.cpp makes of a GGUF file: argument 1 the file, argument 2 token ids with commas between.

Prints one line of JSON: `logits`, those behind each of the tokens.
"""

import ctypes
import json
import sys

import llama_cpp as llama


@llama.llama_log_callback
def errors_alone(level, text, user_data):
    if level == 4:
        sys.stderr.write(text.decode(errors="replace"))


llama.llama_log_set(errors_alone, ctypes.c_void_p(0))
llama.llama_backend_init()
model = llama.llama_model_load_from_file(sys.argv[1].encode(), llama.llama_model_default_params())
if not model:
    sys.exit(f"llama.cpp cannot load {sys.argv[1]}")
tokens = [int(token) for token in sys.argv[2].split(",")]
options = llama.llama_context_default_params()
options.n_ctx, options.n_threads, options.n_threads_batch = 256, 1, 1
context = llama.llama_init_from_model(model, options)
if not context:
    sys.exit("llama.cpp has no room for a context")
vocabulary = llama.llama_vocab_n_tokens(llama.llama_model_get_vocab(model))


def read(token):
    array = (llama.llama_token * 1)(token)  # lives as long as the batch, which points to it
    status = llama.llama_decode(context, llama.llama_batch_get_one(array, 1))
    if status != 0:
        sys.exit(f"llama_decode gave {status}")
    return list(llama.llama_get_logits_ith(context, -1)[:vocabulary])


logits = [read(token) for token in tokens]
print(json.dumps({"logits": logits}))
