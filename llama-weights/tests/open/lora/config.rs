//! `adapter_config.json` by its ways to be wrong.

use serde_json::{Value, json};

use super::Adapter;

const CORRECT: &str = "correct the file or download it again";
const MERGE: &str = "merge the adapter into its base with peft and give the merged model";

/// What is said of the configuration with these keys changed.
#[track_caller]
fn refused(changes: Value) -> String {
    let message = Adapter::config(changes).refusal();
    let sentence = message.strip_prefix("DIR/adapter_config.json: ");
    sentence.unwrap_or_else(|| panic!("{message}")).to_owned()
}

#[test]
fn another_method() {
    for (changes, found) in [
        (json!({"peft_type": "LOHA"}), "\"LOHA\""),
        (json!({"peft_type": "PROMPT_TUNING"}), "\"PROMPT_TUNING\""),
        (json!({"peft_type": "(absent)"}), "nothing"),
    ] {
        let expected = format!("peft_type: expected \"LORA\", found {found}; {MERGE}");
        assert_eq!(refused(changes), expected);
    }
}

#[test]
fn another_task() {
    assert_eq!(
        refused(json!({"task_type": "SEQ_CLS"})),
        "task_type: expected \"CAUSAL_LM\" or null, found \"SEQ_CLS\"; give an adapter that was trained for generating text"
    );
}

#[test]
fn variants_that_are_more_than_products() {
    for key in ["use_dora", "use_qalora", "lora_bias", "fan_in_fan_out"] {
        let expected = format!("{key}: expected false, found true; {MERGE}");
        assert_eq!(refused(json!({key: true})), expected);
        assert_eq!(
            refused(json!({key: 1})),
            format!("{key}: expected true or false, found 1; {CORRECT}")
        );
    }
    for (key, value, found) in [
        ("layer_replication", json!([[0, 2], [1, 3]]), "a list"),
        ("trainable_token_indices", json!([5]), "a list"),
        ("target_parameters", json!(["experts"]), "a list"),
        ("alora_invocation_tokens", json!([1]), "a list"),
        ("arrow_config", json!({"top_k": 3}), "an object"),
        ("kasa_config", json!({"beta": 1}), "an object"),
        ("megatron_config", json!({"a": 1}), "an object"),
        ("monteclora_config", json!({"a": 1}), "an object"),
        ("use_bdlora", json!({"nblocks": 2}), "an object"),
        ("velora_config", json!({"scale": 2}), "an object"),
    ] {
        assert_eq!(
            refused(json!({key: value})),
            format!("{key}: expected null, found {found}; {MERGE}")
        );
    }
}

#[test]
fn a_beginning_that_changes_the_base() {
    for (value, found) in [
        (json!("pissa"), "\"pissa\""),
        (json!("olora"), "\"olora\""),
        (json!("loftq"), "\"loftq\""),
        (json!("a\nb"), "\"a\\nb\""),
    ] {
        assert_eq!(
            refused(json!({"init_lora_weights": value})),
            format!(
                "init_lora_weights: expected true, false, \"gaussian\", \"orthogonal\" or \"eva\", which leave the base as it is, \
                 found {found}; {MERGE}"
            )
        );
    }
}

#[test]
fn ranks_that_are_none() {
    let expected = "expected an integer from 1 to 65536";
    for (value, found) in [
        (json!(0), "0"),
        (json!(-1), "-1"),
        (json!(1.5), "1.5"),
        (json!(1_000_000_000_000_000_000u64), "1000000000000000000"),
        (json!("8"), "\"8\""),
    ] {
        assert_eq!(
            refused(json!({"r": value})),
            format!("r: {expected}, found {found}; {CORRECT}")
        );
        assert_eq!(
            refused(json!({"rank_pattern": {"q_proj": value}})),
            format!("rank_pattern.q_proj: {expected}, found {found}; {CORRECT}")
        );
    }
}

#[test]
fn alphas_that_are_no_numbers() {
    assert_eq!(
        refused(json!({"lora_alpha": 1e300})),
        format!("lora_alpha: expected a number in the range of f32, found 1e+300; {CORRECT}")
    );
    assert_eq!(
        refused(json!({"lora_alpha": "NaN"})),
        format!("lora_alpha: expected a number, found \"NaN\"; {CORRECT}")
    );
    assert_eq!(
        refused(json!({"alpha_pattern": {"q_proj": true}})),
        format!("alpha_pattern.q_proj: expected a number, found true; {CORRECT}")
    );
    let adapter = Adapter::good();
    let text = r#"{"peft_type": "LORA", "lora_alpha": NaN}"#;
    adapter.directory.write("adapter_config.json", text);
    assert_eq!(
        adapter.refusal(),
        "DIR/adapter_config.json: expected a JSON object, found expected value at line 1 column 37; download the file again"
    );
}

#[test]
fn patterns_that_are_none() {
    assert_eq!(
        refused(json!({"rank_pattern": ["q_proj"]})),
        format!("rank_pattern: expected an object or null, found a list; {CORRECT}")
    );
    let expression =
        "a regular expression of moderate size, without look-around and back-references";
    assert_eq!(
        refused(json!({"alpha_pattern": {"(?=q)": 1}})),
        format!("alpha_pattern: expected {expression}, found \"(?=q)\"; {CORRECT}")
    );
    assert_eq!(
        refused(json!({"target_modules": "("})),
        format!("target_modules: expected {expression}, found \"(\"; {CORRECT}")
    );
    assert_eq!(
        refused(json!({"modules_to_save": ["lm_head", "*"]})),
        format!("modules_to_save: expected {expression}, found \"*\"; {CORRECT}")
    );
    assert_eq!(
        refused(json!({"modules_to_save": "lm_head"})),
        format!("modules_to_save: expected a list of strings, found \"lm_head\"; {CORRECT}")
    );
    for (value, found) in [(json!(7), "7"), (json!(["q_proj", 7]), "a list")] {
        assert_eq!(
            refused(json!({"target_modules": value})),
            format!(
                "target_modules: expected a list of strings, or a regular expression, found {found}; {CORRECT}"
            )
        );
    }
}

/// A key of the file's own stays one line, however long.
#[test]
fn a_key_that_would_write_to_a_terminal() {
    let key = format!("\u{1b}c{}", "a".repeat(100));
    assert_eq!(
        refused(json!({"rank_pattern": {key: 0}})),
        format!(
            "rank_pattern.\"\\u{{1b}}c{}\"…: expected an integer from 1 to 65536, found 0; {CORRECT}",
            "a".repeat(78)
        )
    );
}

/// Compiled, each of these would take 50 MB: none is, and all are refused in time.
#[test]
fn expressions_that_would_take_all_memory() {
    let bombs = (0..2000).map(|i| (format!(r"(\w{{500}}){{50}}{i}"), json!(1)));
    let message = refused(json!({"rank_pattern": Value::Object(bombs.collect())}));
    assert!(message.starts_with("rank_pattern: expected a regular expression of moderate size"));
    let many = (0..5000).map(|i| (format!("q_proj{i}"), json!(1)));
    assert_eq!(
        refused(json!({"alpha_pattern": Value::Object(many.collect())})),
        format!("alpha_pattern: expected at most 4096 entries, found 5000; {CORRECT}")
    );
}

/// As many as are taken, none of which matches: in time, too.
#[test]
fn expressions_that_match_slowly() {
    let slow = (0..4096).map(|i| (format!(r"(.*.*.*)x{i}"), json!(3)));
    let adapter = Adapter::config(json!({"rank_pattern": Value::Object(slow.collect())}));
    let start = std::time::Instant::now();
    adapter.open(1.0);
    assert!(start.elapsed().as_secs() < 2, "took {:?}", start.elapsed());
}

#[test]
fn layers_that_are_none() {
    for (value, found) in [
        (json!("0"), "\"0\""),
        (json!([0, -1]), "a list"),
        (json!(0.5), "0.5"),
    ] {
        assert_eq!(
            refused(json!({"layers_to_transform": value})),
            format!(
                "layers_to_transform: expected a layer's number or a list of them, found {found}; {CORRECT}"
            )
        );
    }
}

#[test]
fn biases_of_another_kind() {
    assert_eq!(
        refused(json!({"bias": "some"})),
        format!("bias: expected \"none\", \"all\" or \"lora_only\", found \"some\"; {CORRECT}")
    );
}

#[test]
fn a_file_longer_than_any_configuration() {
    let adapter = Adapter::good();
    (adapter.directory).write("adapter_config.json", vec![b' '; (1 << 20) + 1]);
    assert_eq!(
        adapter.refusal(),
        "DIR/adapter_config.json: expected at most 1048576 bytes, found 1048577; this is not the file it is named after"
    );
}
