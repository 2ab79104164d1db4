"""Loads folders with transformers: load.py TOKEN,TOKEN,... NEW_TOKENS TEXT FOLDER... Prints, for each folder, class, version, missing and
unknown tensors, logits of the tokens, greedy continuation, and ids of the text, as one JSON object a line."""

import json
import sys

import torch
import transformers

prompt, num_new_tokens, text, *folders = sys.argv[1:]
ids = torch.tensor([[int(token) for token in prompt.split(",")]])
for folder in folders:
    model, info = transformers.AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    model.eval()
    problems = [f"{kind}: {name}" for kind in ("missing_keys", "unexpected_keys", "mismatched_keys") for name in info[kind]]
    with torch.no_grad():
        logits = model(ids).logits[0].float()
        greedy = ids
        for _ in range(int(num_new_tokens)):
            next_token = model(greedy).logits[:, -1:].argmax(-1)
            greedy = torch.cat([greedy, next_token], dim=1)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    encoded = tokenizer(text).input_ids
    report = {
        "class": type(model).__name__,
        "version": transformers.__version__,
        "problems": problems,
        "logits": logits.flatten().tolist(),
        "greedy": greedy[0, ids.shape[1] :].tolist(),
        "ids": encoded,
        "text": tokenizer.decode(encoded, skip_special_tokens=True),
    }
    print(json.dumps(report))
