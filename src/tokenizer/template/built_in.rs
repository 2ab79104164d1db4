//! Chat templates that are known by name, for models that come without one.

/// A template with what ends an answer under it.
#[derive(Debug, Clone, Copy)]
pub(super) struct BuiltIn {
    pub name: &'static str,
    pub source: &'static str,
    /// Token behind an answer.
    pub ending: Option<&'static str>,
    /// Text that a model goes on with when it ends no answer.
    pub stop: Option<&'static str>,
}

/// All of them.
pub(super) const BUILT_IN: [BuiltIn; 4] = [
    BuiltIn {
        name: "chatml",
        source: "{% for message in messages %}{{ '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>\n' }}{% endfor %}\
                 {% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
        ending: Some("<|im_end|>"),
        stop: None,
    },
    BuiltIn {
        name: "llama3",
        source: "{{ bos_token }}{% for message in messages %}\
                 {{ '<|start_header_id|>' + message.role + '<|end_header_id|>\n\n' + message.content | trim + '<|eot_id|>' }}{% endfor %}\
                 {% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}",
        ending: Some("<|eot_id|>"),
        stop: None,
    },
    // microsoft/bitnet-b1.58-2B-4T
    BuiltIn {
        name: "bitnet",
        source: "{{ bos_token }}{% for message in messages %}\
                 {{ message.role | capitalize + ': ' + message.content | trim + '<|eot_id|>' }}{% endfor %}\
                 {% if add_generation_prompt %}{{ 'Assistant: ' }}{% endif %}",
        ending: Some("<|eot_id|>"),
        stop: None,
    },
    // No special tokens, so that any model can read it.
    BuiltIn {
        name: "plain",
        source: "{% for message in messages %}{{ message.role | capitalize + ': ' + message.content | trim + '\n' }}{% endfor %}\
                 {% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}",
        ending: None,
        stop: Some("\nUser:"),
    },
];
