"""Records what the Python package `tokenizers` makes of tokenizer.json: [text, ids, decoded text] a line of encodings.json.

Made with tokenizers 0.23.3:  pip install tokenizers && python3 record.py
tokenizer.json itself is what `Tokenizer::characters("\n 0123456789+-*/=", 32)` writes.
"""
import json
import pathlib

from tokenizers import Tokenizer

TEXTS = ["", "25 + 17 = 42\n", "25 + 17 =", "3 - 17 = -14\n1 + 1 = 2\n", "99 * 99 = 9801\n", "7/2=3", "  0  \n\n", "--**//==++", "0123456789"]

here = pathlib.Path(__file__).parent
tokenizer = Tokenizer.from_file(str(here / "tokenizer.json"))
assert tokenizer.get_vocab_size() == 32
assert [tokenizer.token_to_id(token) for token in ["<pad>", "<bos>", "<eos>", "<unk>", "\n", "="]] == [0, 1, 2, 3, 4, 20]
assert tokenizer.encode("1a2").ids == [7, 3, 8], "a character outside the alphabet is <unk>"
assert tokenizer.decode([0, 6, 21, 31, 2, 3, 7]) == "01", "special and reserved ids add nothing"
rows = [[text, tokenizer.encode(text).ids, tokenizer.decode(tokenizer.encode(text).ids)] for text in TEXTS]
(here / "encodings.json").write_text("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n")
