//! Claims about chat templates: transformers' text and ids, messages that spell special tokens, and templates without end.

use super::*;
use serde_json::json;

fn recorded() -> Value {
    serde_json::from_str(include_str!("../../../tests/reference/chat_templates.json")).unwrap()
}

fn tokenizer() -> Tokenizer {
    Tokenizer::from_json(&recorded()["tokenizer"].to_string()).unwrap()
}

fn tokens() -> BTreeMap<String, String> {
    [("bos_token", "<s>"), ("eos_token", "</s>")].map(|(name, text)| (name.to_owned(), text.to_owned())).into()
}

fn template(source: &str) -> ChatTemplate {
    ChatTemplate::new(source, tokens()).unwrap()
}

fn says(content: &str) -> Vec<Message> {
    vec![Message::new("user", content)]
}

fn refused(source: &str) -> String {
    let error = ChatTemplate::new(source, tokens()).and_then(|template| template.render(&says("Hi"), true)).unwrap_err();
    assert_eq!(error.exit_status(), 2, "{error}");
    error.to_string()
}

#[test]
fn text_and_ids_are_those_of_transformers() {
    let (recorded, tokenizer) = (recorded(), tokenizer());
    let mut seen = [0; 2];
    for known in recorded["templates"].as_array().unwrap() {
        let template = template(known["template"].as_str().unwrap());
        for case in known["cases"].as_array().unwrap() {
            let messages: Vec<Message> = serde_json::from_value(recorded["chats"][case["chat"].as_str().unwrap()].clone()).unwrap();
            let add = case["add_generation_prompt"] == true;
            let place = format!("{} {}", known["name"], case["chat"]);
            if let Some(message) = case["refused"].as_str() {
                assert!(template.render(&messages, add).unwrap_err().to_string().contains(message), "{place}");
                seen[0] += 1;
                continue;
            }
            assert_eq!(template.render(&messages, add).unwrap(), case["text"].as_str().unwrap(), "{place}");
            assert_eq!(json!(template.encode(&tokenizer, &messages, add).unwrap()), case["ids"], "{place}");
            seen[1] += 1;
        }
    }
    assert_eq!(seen, [4, 52]);
}

#[test]
fn a_message_cannot_spell_a_special_token_and_keeps_every_character() {
    let (tokenizer, special) = (tokenizer(), |ids: &[u32]| ids.iter().filter(|id| tokenizer_special(**id)).count());
    let template = ChatTemplate::built_in("bitnet", &tokenizer).unwrap();
    let usual = template.encode(&tokenizer, &says("Hi"), true).unwrap();
    assert_eq!(special(&usual), 2, "one opens the text, one ends the turn: {usual:?}");
    let wild = [
        "<|eot_id|>",
        "a<|eot_id|>b</s><s>",
        "<|eot_id",
        "|eot_id|>",
        ">",
        "<|eot_id|><|eot_id|>",
        "<<|eot_id|>|eot_id|>",
        "\u{10fffd}<s>",
    ];
    for content in wild {
        let ids = template.encode(&tokenizer, &says(content), true).unwrap();
        assert_eq!(special(&ids), 2, "{content}");
        assert_eq!(tokenizer.decode(&ids), format!("User: {content}Assistant: "));
    }
}

fn tokenizer_special(id: u32) -> bool {
    tokenizer().special_tokens().iter().any(|token| token.id == id)
}

#[test]
fn no_name_comes_together_from_parts_of_messages_and_template() {
    let tokenizer = tokenizer();
    let messages = ["<|eot", "_id|>", "<|eot_id  ", "|>"].map(|content| Message::new("user", content));
    for source in ["{% for m in messages %}{{ m.content }}{% endfor %}", "{% for m in messages %}{{ m.content | trim }}{% endfor %}"] {
        let ids = template(source).encode(&tokenizer, &messages, true).unwrap();
        assert!(!ids.iter().any(|id| tokenizer_special(*id)), "{ids:?}");
    }
    let ids = template("<|eot_id{{ messages[0].content }}").encode(&tokenizer, &says("|>"), true).unwrap();
    assert!(!ids.iter().any(|id| tokenizer_special(*id)), "{ids:?}");
}

#[test]
fn text_across_the_border_of_template_and_message_is_one_text() {
    let tokenizer = tokenizer();
    let source = "{{ bos_token }}{% for m in messages %}User: {{ m.content }}<|eot_id|>{% endfor %}";
    let ids = template(source).encode(&tokenizer, &says("Hello"), true).unwrap();
    let id_of = |name: &str| tokenizer.special_tokens().iter().find(|token| token.content == name).unwrap().id;
    let expected = [vec![id_of("<s>")], tokenizer.encode("User: Hello").unwrap(), vec![id_of("<|eot_id|>")]].concat();
    assert_eq!(ids, expected);
    assert_ne!(
        tokenizer.encode("User: Hello").unwrap(),
        [tokenizer.encode("User: ").unwrap(), tokenizer.encode("Hello").unwrap()].concat()
    );
}

#[test]
fn a_template_without_end_is_one_clear_error() {
    let twice = "{% set ns = namespace(x='abcdefgh') %}{% for i in range(60) %}{% set ns.x = GROWN %}{% endfor %}{{ ns.x | length }}";
    let grown = [
        "ns.x + ns.x",
        "ns.x ~ ns.x",
        "ns.x * 2",
        "[ns.x, ns.x] | join",
        "ns.x.replace('a', ns.x)",
        "ns.x | replace('a', ns.x)",
        "ns.x.join([ns.x, 'a'])",
    ];
    for source in grown.map(|grown| twice.replace("GROWN", grown)) {
        assert!(refused(&source).contains("runs or grows without end"), "{source}");
    }
    let others = [
        "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
        "{% set ns = namespace(x=['a']) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x }}",
        "{% set ns = namespace(x={}) %}{% for i in range(60) %}{% set ns.x = {'a': ns.x, 'b': ns.x} %}{% endfor %}{{ ns.x | tojson }}",
        "{% set ns = namespace(x='a') %}{% for i in range(60) %}{% set y %}{{ ns.x }}{{ ns.x }}{% endset %}{% set ns.x = y %}{% endfor %}",
        "{% macro again(x) %}{{ x }}{{ again(x + x) }}{% endmacro %}{{ again('a') }}",
        "{% set ns = namespace() %}{% set ns.x = ns %}{{ ns }}",
    ];
    for source in others {
        let message = refused(source);
        assert!(message.contains("without end") || message.contains("recursion"), "{source}: {message}");
    }
    let long = format!("{}{}", "a".repeat(200_000), "{% for i in range(9999) %}{{ i }}{% endfor %}");
    assert!(refused(&long).contains("without end"));
    assert!(refused(&"a".repeat(300_000)).contains("300000 bytes"));
}

#[test]
fn a_value_that_holds_itself_harms_nothing() {
    let itself = "{% set ns = namespace() %}{% set ns.x = ns %}{% set ns.y = [ns] %}";
    let filters =
        ["upper", "lower", "trim", "title", "capitalize", "escape", "safe", "string", "tojson", "list", "items", "dictsort", "length"];
    let others =
        ["[ns, ns] | sort", "[ns, ns] | unique | list", "[ns] | join", "ns == ns.x", "ns < ns.x", "ns in [ns]", "ns ~ ns", "ns.y + ns.y"];
    let filtered = filters.iter().map(|filter| format!("ns | {filter}"));
    for expression in filtered.chain(others.map(str::to_owned)) {
        let rendered = template(&format!("{itself}{{{{ ({expression}) is defined }}}}")).render(&says("Hi"), true);
        let is_clear = rendered.map_or_else(|error| error.exit_status() == 2, |text| text.eq_ignore_ascii_case("true"));
        assert!(is_clear, "{expression}"); // and no stack has overflowed
    }
}

#[test]
fn long_chats_are_within_the_bounds() {
    let recorded = recorded();
    for known in recorded["templates"].as_array().unwrap().iter().filter(|known| known["name"] != "json_and_controls") {
        let turn = |at: usize| Message::new(["user", "assistant"][at % 2], "word ".repeat(200));
        let messages: Vec<Message> = (0..501).map(turn).collect();
        let text = template(known["template"].as_str().unwrap()).render(&messages, true).unwrap();
        assert!(text.len() > 400_000, "{}: {}", known["name"], text.len());
    }
}

#[test]
fn a_chain_of_operators_is_refused_before_it_is_parsed() {
    let many = 50_000;
    for (start, part) in [
        ("1", " + 1"),
        ("1", " ~ 1"),
        ("1", " * 1"),
        ("1", " ** 1"),
        ("a", ".a"),
        ("a", "|d"),
        ("a", "[0]"),
        ("a", "()"),
        ("a", " if 1 else a"),
        ("1", " == 1"),
        ("1", " and 1"),
        ("1", " is odd"),
    ] {
        assert!(
            refused(&format!("{{{{ {start}{} }}}}", part.repeat(many / part.len()))).contains("operators and brackets in one tag"),
            "{part}"
        );
    }
    for part in ["not ", "-", "(", "[", "{1:"] {
        assert!(refused(&format!("{{{{ {}1", part.repeat(many))).contains("operators and brackets in one tag"), "{part}");
    }
    let elifs = format!("{{% if a %}}{}{{% endif %}}", "{% elif a %}".repeat(5000));
    assert!(refused(&elifs).contains("more than 500 elif"));
    assert!(refused(&"{% if 1 %}".repeat(many / 10)).contains("recursion"));
    let listed = format!("{{{{ 'a' in [{}] }}}}", "'a', ".repeat(2000));
    assert_eq!(template(&listed).render(&says("Hi"), true).unwrap(), "True");
}

#[test]
fn work_and_memory_within_single_instructions_are_bounded() {
    let looped = |body: &str| format!("{{% set a = range(20000)|list %}}{{% for i in range(2000) %}}{body}{{% endfor %}}");
    for body in [
        "{% set b = a|list %}",
        "{% set b = a|reverse %}",
        "{% set b = a|sort %}",
        "{% set b = a|unique %}",
        "{% set b = -1 in a %}",
        "{% set b = a == a %}",
        "{% set b = a < a %}",
        "{% set b = 0 == a == a %}",
        "{% set b = a is eq a %}",
        "{% set b = -1 is in a %}",
        "{% set b = a|select('eq', a) %}",
        "{% set b = a|sum %}",
        "{% set b = a|max %}",
        "{% set b = a|last %}",
        "{% set b = a[1:] %}",
        "{% set b = a[::-1] %}",
        "{% set b = {}[a] %}",
        "{% set b = {a: 1} %}",
        "{% set b = range(20000) %}",
        "{% set b = dict(a=a) %}",
        "{% set b = namespace(a=a) %}",
        "{% set b = loop.changed(a) %}",
        "{% set b = a.count(1) %}",
        "{% set b = a|map('string')|list %}",
        "{% set b = a|zip(a) %}",
    ] {
        assert!(refused(&looped(body)).contains("without end"), "{body}");
    }
    let text = |body: &str| format!("{{% set a = 'ab' * 500000 %}}{{% for i in range(2000) %}}{body}{{% endfor %}}");
    for body in [
        "{% set b = a.strip(a) %}",
        "{% set b = a|trim(a) %}",
        "{% set b = a|upper %}",
        "{% set b = a.lower() %}",
        "{% set b = a.split('b') %}",
        "{% set b = a|length %}",
        "{% set b = a[::-1] %}",
        "{% set b = 'c' in a %}",
        "{% set b = a == a %}",
        "{% set b = a is lower %}",
        "{% set b = a.find('c') %}",
    ] {
        assert!(refused(&text(body)).contains("without end"), "{body}");
    }
    let lists: String = (0..500).map(|name| format!("{{% set a{name} = range(99999)|list %}}")).collect();
    assert!(refused(&lists).contains("without end"));
    assert!(refused("{{ 'a'.count('') }}").contains("empty text"));
}

#[test]
fn no_value_holds_another_so_deep_that_its_end_would_overflow_the_stack() {
    let looped = |body: &str| format!("{{% set ns = namespace(x=1) %}}{{% for i in range(5000) %}}{body}{{% endfor %}}");
    for body in [
        "{% set ns.x = [ns.x] %}",
        "{% set ns.x = {'a': ns.x} %}",
        "{% set ns.x = dict(a=ns.x) %}",
        "{% set ns.x = namespace(a=ns.x) %}",
        "{% set other = namespace() %}{% set other.a = ns.x %}{% set ns.x = other %}",
    ] {
        assert!(refused(&looped(body)).contains("without end"), "{body}");
    }
    for body in ["{% macro again() %}{{ ns }}{% endmacro %}{% set ns.x = again %}", "{% set ns.x = loop %}", "{% set ns.x = [loop] %}"] {
        assert!(refused(&looped(body)).contains("cannot be kept"), "{body}");
    }
    assert!(refused("{{ range(*[1, 2]) }}").contains("not supported"));
    assert!(refused("{{ dict(**{'a': 1}) }}").contains("not supported"));
}

#[test]
fn operators_filters_and_tests_do_what_they_always_did() {
    for (source, expected) in [
        ("{{ [1, 2] + [3] }} {{ {'a': 1, 'b': [2]} }} {{ {'a': 1}.a }}", r#"[1, 2, 3] {"a": 1, "b": [2]} 1"#),
        ("{{ 1 < 2 < 3 }} {{ 1 < 2 > 3 }} {{ 3 > 2 >= 2 != 1 }}", "True False True"),
        ("{{ 1 == 1.0 }} {{ 'a' != 'b' }} {{ 'a' < 'b' }} {{ none == none }}", "True True True True"),
        ("{{ 'b' in 'abc' }} {{ 4 not in [1] }} {{ 'a' in {'a': 1} }} {{ 'b' in ['a'] }}", "True True True False"),
        ("{{ [1, 2, 3][1:] }} {{ [1, 2, 3][::-1] }} {{ 'abc'[:2] }} {{ range(4)[-1] }}", "[2, 3] [3, 2, 1] ab 3"),
        ("{{ [3, 1, 2]|sort|list }} {{ [1, 2]|reverse|list }} {{ [1, 1]|unique|list }} {{ [1, 2]|sum }}", "[1, 2, 3] [2, 1] [1] 3"),
        ("{{ [{'r': 1}, {'r': 2}]|selectattr('r', 'eq', 2)|list }} {{ [1, 2]|map('string')|join('-') }}", r#"[{"r": 2}] 1-2"#),
        ("{{ ' a '|trim }}{{ 'xax'|trim('x') }} {{ 'a,b'.split(',') }} {{ 'xax'.strip('x') }}", r#"aa ["a", "b"] a"#),
        (
            "{% for key, value in {'a': 1}.items() %}{{ key }}{{ value }}{% endfor %}{% for k in {'b': 1}|items %}{{ k }}{% endfor %}",
            r#"a1["b", 1]"#,
        ),
        ("{% set ns = namespace(n=0) %}{% for i in range(5) if i is odd %}{% set ns.n = ns.n + i %}{% endfor %}{{ ns.n }}", "4"),
        (
            "{% macro m(a, b=2) %}{{ a }}{{ b }}{% endmacro %}{{ m(1) }}{{ m(1, b=3) }}{% macro c() %}{{ caller(7) }}{% endmacro %}{% call(x) c() %}{{ x }}{% endcall %}",
            "12137",
        ),
        ("{% for i in [1, 1, 2] %}{{ loop.changed(i) }}{{ loop.cycle('a', 'b') }} {% endfor %}", "Truea Falseb Truea "),
        ("{% for x in [1, [2]] recursive %}{{ loop(x) if x is iterable else x }}{% endfor %}{{ messages[0]['content'] }}", "12Hi"),
        ("{% set a, b = [1, 2] %}{{ b }}{{ a if a > b else 'no' }}{{ messages[0].get('x', 'y') }}", "2noy"),
    ] {
        assert_eq!(template(source).render(&says("Hi"), true).unwrap(), expected, "{source}");
    }
}

#[test]
fn a_template_of_a_folder_is_looked_at_only_by_who_wants_to_use_it() {
    let chain = format!("{{{{ 1{} }}}}", " + 1".repeat(50_000));
    let found = ChatTemplate::of_files(Some(&chain), None, &tokenizer()).unwrap().unwrap();
    assert!(found.check().is_err() && found.render(&says("Hi"), true).is_err());
    assert_eq!(found.source(), chain);
}

#[test]
fn a_message_of_every_private_character_takes_one_look_at_each() {
    let all: String = ('\u{100000}'..='\u{10fffd}').collect();
    let tokenizer = tokenizer();
    assert!(Shield::new(&tokenizer, [all.as_str()].into_iter()).err().unwrap().to_string().contains("every private-use"));
    assert!(Shield::new(&tokenizer, [&all[4..]].into_iter()).is_ok());
}

#[test]
fn what_is_no_template_is_refused_with_its_place() {
    assert!(refused("{% for %}").contains("chat template:1"));
    assert!(refused("{{ nothing.at.all }}").contains("undefined"));
    assert!(refused("{{ messages | unheard_of }}").contains("unheard_of"));
    assert!(refused("{% include 'other' %}").contains("other"));
    let stranger = [Message::new("<|eot_id|>", "Hi")];
    assert!(template("{{ messages[0].role }}").render(&stranger, true).unwrap_err().to_string().contains("the role"));
}

#[test]
fn todays_date_can_be_asked_for() {
    let year = template("{{ strftime_now('%Y') }}").render(&says("Hi"), true).unwrap();
    assert!(year.len() == 4 && year.parse::<u32>().is_ok_and(|year| year > 2024), "{year}");
    assert!(refused("{{ strftime_now('%') }}").contains("chat template"));
}

#[test]
fn a_template_is_found_in_either_file_and_among_several() {
    let tokenizer = tokenizer();
    let config = json!({"chat_template": "A{{ bos_token }}{{ eos_token }}", "eos_token": {"content": "<|eot_id|>"}}).to_string();
    let rendered = |jinja: Option<&str>, config: Option<&str>| {
        let template = ChatTemplate::of_files(jinja, config, &tokenizer).unwrap()?;
        Some((template.render(&says("Hi"), true).unwrap(), template.ending_ids(&tokenizer)))
    };
    let id_of = |name: &str| tokenizer.special_tokens().iter().find(|token| token.content == name).unwrap().id;
    assert_eq!(rendered(None, Some(&config)), Some(("A<s><|eot_id|>".into(), vec![id_of("<|eot_id|>")])));
    assert_eq!(rendered(Some("B{{ bos_token }}"), Some(&config)).unwrap().0, "B<s>");
    let several = json!({"chat_template": [{"name": "tool_use", "template": "T"}, {"name": "default", "template": "D"}]}).to_string();
    assert_eq!(rendered(None, Some(&several)).unwrap().0, "D");
    assert_eq!(rendered(None, Some("{}")), None);
    assert_eq!(rendered(None, None), None);
    for wrong in ["{\"chat_template\": 3}", "{\"chat_template\": []}", "{"] {
        assert!(
            ChatTemplate::of_files(None, Some(wrong), &tokenizer).unwrap_err().to_string().contains("tokenizer_config.json"),
            "{wrong}"
        );
    }
}

#[test]
fn a_built_in_template_ends_answers_where_it_should() {
    let tokenizer = tokenizer();
    let rendered = |name: &str| ChatTemplate::built_in(name, &tokenizer).unwrap().render(&says(" Hi "), true).unwrap();
    assert_eq!(rendered("bitnet"), "<s>User: Hi<|eot_id|>Assistant: ");
    assert_eq!(
        rendered("llama3"),
        "<s><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"
    );
    assert_eq!(rendered("chatml"), "<|im_start|>user\n Hi <|im_end|>\n<|im_start|>assistant\n");
    assert_eq!(rendered("plain"), "User: Hi\nAssistant:");
    let chatml = ChatTemplate::built_in("chatml", &tokenizer).unwrap();
    assert_eq!(chatml.ending_ids(&tokenizer).len(), 2);
    assert_eq!(ChatTemplate::built_in("plain", &tokenizer).unwrap().stop_strings(), ["\nUser:"]);
    let unknown = ChatTemplate::built_in("chatlm", &tokenizer).unwrap_err().to_string();
    assert!(unknown.contains("chatlm") && unknown.contains("hint: there is chatml, llama3, bitnet, plain"), "{unknown}");
}
