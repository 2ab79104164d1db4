"""Records what transformers makes of chats with several models' templates: text and ids. README.md says what the file holds.

    python3 -m venv /tmp/reference && /tmp/reference/bin/pip install transformers==5.23.0 jinja2==3.1.6
    /tmp/reference/bin/python tests/reference/make_chat_templates.py
"""

import json
from pathlib import Path

import transformers
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

TEMPLATES = {
"bitnet_2b_4t": "{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = message['role'] | capitalize + ': '+ message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}{% if add_generation_prompt %}{{ 'Assistant: ' }}{% endif %}",
"llama3": "{{- bos_token }}\n{%- if not date_string is defined %}\n    {%- set date_string = \"26 Jul 2024\" %}\n{%- endif %}\n\n{#- The system message, so that we can slot it into the right place #}\n{%- if messages[0]['role'] == 'system' %}\n    {%- set system_message = messages[0]['content']|trim %}\n    {%- set messages = messages[1:] %}\n{%- else %}\n    {%- set system_message = \"\" %}\n{%- endif %}\n\n{{- \"<|start_header_id|>system<|end_header_id|>\\n\\n\" }}\n{%- if tools is not none %}\n    {{- \"Environment: ipython\\n\" }}\n{%- endif %}\n{{- \"Today Date: \" + date_string + \"\\n\\n\" }}\n{{- system_message }}\n{{- \"<|eot_id|>\" }}\n{%- for message in messages %}\n    {%- if not (message.role == 'ipython' or message.role == 'tool' or 'tool_calls' in message) %}\n        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'+ message['content'] | trim + '<|eot_id|>' }}\n    {%- endif %}\n{%- endfor %}\n{%- if add_generation_prompt %}\n    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}\n{%- endif %}\n",
"qwen": "{%- if tools %}\n    {{- '<|im_start|>system\\n' }}\n    {%- for tool in tools %}\n        {{- tool | tojson }}\n    {%- endfor %}\n{%- else %}\n    {%- if messages[0].role == 'system' %}\n        {{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}\n    {%- endif %}\n{%- endif %}\n{%- set ns = namespace(multi_step_tool=true, last_query_index=messages|length - 1) %}\n{%- for message in messages[::-1] %}\n    {%- set index = (messages|length - 1) - loop.index0 %}\n    {%- if ns.multi_step_tool and message.role == \"user\" and message.content is string and not(message.content.startswith('<tool_response>') and message.content.endswith('</tool_response>')) %}\n        {%- set ns.multi_step_tool = false %}\n        {%- set ns.last_query_index = index %}\n    {%- endif %}\n{%- endfor %}\n{%- for message in messages %}\n    {%- if (message.role == \"user\") or (message.role == \"system\" and not loop.first) %}\n        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}\n    {%- elif message.role == \"assistant\" %}\n        {%- set content = message.content %}\n        {%- if '</think>' in content %}\n            {%- set reasoning = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}\n            {%- set content = content.split('</think>')[-1].lstrip('\\n') %}\n        {%- endif %}\n        {%- if loop.index0 > ns.last_query_index and reasoning is defined %}\n            {{- '<|im_start|>' + message.role + '\\n<think>\\n' + reasoning.strip('\\n') + '\\n</think>\\n\\n' + content.lstrip('\\n') }}\n        {%- else %}\n            {{- '<|im_start|>' + message.role + '\\n' + content }}\n        {%- endif %}\n        {{- '<|im_end|>\\n' }}\n    {%- endif %}\n{%- endfor %}\n{%- if add_generation_prompt %}\n    {{- '<|im_start|>assistant\\n' }}\n    {%- if enable_thinking is defined and enable_thinking is false %}\n        {{- '<think>\\n\\n</think>\\n\\n' }}\n    {%- endif %}\n{%- endif %}",
"phi3": "{% for message in messages %}{% if message['role'] == 'system' %}{{'<|system|>\n' + message['content'] + '<|end|>\n'}}{% elif message['role'] == 'user' %}{{'<|user|>\n' + message['content'] + '<|end|>\n'}}{% elif message['role'] == 'assistant' %}{{'<|assistant|>\n' + message['content'] + '<|end|>\n'}}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}",
"mistral": "{{ bos_token }}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' }}{% elif message['role'] == 'assistant' %}{{ message['content'] + eos_token}}{% else %}{{ raise_exception('Only user and assistant roles are supported!') }}{% endif %}{% endfor %}",
"smollm_generation": "{%- for message in messages -%}\n{%- if message.role == 'assistant' -%}\n{% generation %}{{ '<|im_start|>assistant\\n' ~ message.content ~ '<|im_end|>\\n' }}{% endgeneration %}\n{%- else -%}\n{{ '<|im_start|>' ~ message.role ~ '\\n' ~ message.content ~ '<|im_end|>\\n' }}\n{%- endif -%}\n{%- endfor -%}",
"json_and_controls": "{% macro turn(m, n=1) %}\n  {{ n }}. {{ m | tojson }}\n{% endmacro %}\n{% for m in messages %}\n    {% if m.role == 'system' %}{% continue %}{% endif %}\n    {% if loop.index > 4 %}{% break %}{% endif %}\n{{ turn(m, loop.index) }}{% endfor %}\n{{ {'a': [1, 2.5, true, none], 'b': bos_token} | tojson(indent=2) }}\n{{ messages | map(attribute='role') | join(', ') }} {{ 7 // 2 * 3 }} {{ 'ab' * 3 }}{{ [1] + [2, 3] }}\n{%- for key, value in {'x': 1, 'y': 'z'}.items() %} {{ key }}={{ value }}{% endfor %} {{ messages[-1].content.upper().replace('O', '0') }} {{ messages|selectattr('role', 'equalto', 'user')|list|length }}{{ undefined_thing }}\n",
}
CHATS = {
"one": [("user","Hello")],
"system": [("system"," Be brief. "),("user","  What is 2 + 3?\n"),("assistant","<think>\nsum\n</think>\n\n5"),("user","and \"é☺\" <b>&'?")],
"pair": [("user","Hi"),("assistant","Yes?"),("user","Bye")],
"wrong": [("user","Hi"),("user","Hi again")],
}
# Phi-3's tokens take the spaces behind them along.
SPECIAL = ["<s>", "</s>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>", "<|im_start|>", "<|im_end|>"]
STRIPPING = ["<|user|>", "<|assistant|>", "<|system|>", "<|end|>"]


def small_tokenizer():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=SPECIAL, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(["User: Hello Assistant: Hello system user assistant What is Today Date: " * 9], trainer)
    tokenizer.add_special_tokens([AddedToken(name, rstrip=True, normalized=False, special=True) for name in STRIPPING])
    return tokenizer


def case(tokenizer, template, name, add_generation_prompt):
    messages = [{"role": role, "content": content} for role, content in CHATS[name]]
    recorded = {"chat": name, "add_generation_prompt": add_generation_prompt}
    options = {"chat_template": template, "add_generation_prompt": add_generation_prompt}
    try:
        recorded["text"] = tokenizer.apply_chat_template(messages, tokenize=False, **options)
        recorded["ids"] = tokenizer.apply_chat_template(messages, tokenize=True, return_dict=False, **options)
    except Exception as error:
        recorded["refused"] = str(error)
    return recorded


def main():
    library = small_tokenizer()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=library, bos_token="<s>", eos_token="</s>")
    cases = lambda template: [case(tokenizer, template, name, add) for name in CHATS for add in (True, False)]
    record = {
        "transformers": transformers.__version__,
        "tokenizer": json.loads(library.to_str()),
        "chats": {name: [{"role": role, "content": content} for role, content in chat] for name, chat in CHATS.items()},
        "templates": [{"name": name, "template": template, "cases": cases(template)} for name, template in TEMPLATES.items()],
    }
    path = Path(__file__).parent / "chat_templates.json"
    path.write_text(json.dumps(record, ensure_ascii=False, separators=(",", ":")) + "\n")


main()
