//! `inspect` as a process: its figures are those of a calculation by hand, and what is damaged is one clear error here, in import and in
//! export.

mod folders;

use bitnet::ternary::statistics::code_shares;
use bitnet::ternary::weights::ternary_absmean;
use folders::*;
use safetensors::Dtype;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

fn json(root: &Path, model: &str) -> Value {
    serde_json::from_str(&succeeds("inspect", root, &[model, "--json"]).0).unwrap()
}

fn tensor<'a>(report: &'a Value, name: &str) -> &'a Value {
    report["tensors"].as_array().unwrap().iter().find(|tensor| tensor["name"] == name).unwrap()
}

fn assert_near(found: &Value, expected: f64) {
    let found = found.as_f64().unwrap();
    assert!((found - expected).abs() <= 1e-6 * expected.abs(), "{found} is not {expected}");
}

#[test]
fn figures_are_those_of_a_calculation_by_hand() {
    let root = tempfile::tempdir().unwrap();
    write_own(&root.path().join("mine"), &config());
    let (report, tensors) = (json(root.path(), "mine"), tensors(&config(), 1));
    let (shape, numbers) = &tensors[Q_PROJ];
    let (found, expected) = (tensor(&report, Q_PROJ), ternary_absmean(numbers).unwrap());
    let shares = code_shares(&expected.codes).unwrap();
    assert_eq!((found["type"].as_str(), found["num_bytes"].as_u64()), (Some("F32"), Some(4 * numbers.len() as u64)));
    assert_eq!(found["shape"], serde_json::json!(shape));
    assert_near(&found["scale"], f64::from(expected.scale));
    assert_near(&found["codes"]["zero"], shares.zero);
    assert_near(&found["codes"]["negative"], shares.negative);
    assert_near(&found["mean_magnitude"], numbers.iter().map(|number| f64::from(number.abs())).sum::<f64>() / numbers.len() as f64);
    assert_near(&found["largest_magnitude"], f64::from(numbers.iter().fold(0f32, |largest, number| largest.max(number.abs()))));
    assert_eq!(tensor(&report, "model.norm.weight")["codes"], Value::Null);

    let num_parameters = config().num_parameters() as u64;
    assert_eq!((report["num_parameters"].as_u64(), report["num_bytes"].as_u64()), (Some(num_parameters), Some(4 * num_parameters)));
    // 48 x 48 for q and o, 24 x 48 for k and v, 72 x 48 for the three of the feed-forward network, in two layers.
    let projections = 2 * (2 * 48 * 48 + 2 * 24 * 48 + 3 * 72 * 48);
    assert_eq!(report["num_projection_weights"].as_u64(), Some(projections));
    assert_eq!(report["num_bytes_packed"].as_u64(), Some(4 * (num_parameters - projections) + projections / 4 + 4 * 14));
    let all: Vec<i8> = tensors
        .iter()
        .filter(|(name, (shape, _))| name.contains(".layers.") && shape.len() == 2)
        .flat_map(|(_, (_, numbers))| ternary_absmean(numbers).unwrap().codes)
        .collect();
    assert_near(&report["codes"]["positive"], code_shares(&all).unwrap().positive);
    assert_eq!(report["is_packed"], false);
}

#[test]
fn a_packed_folder_has_the_codes_and_scales_of_the_one_that_it_was_packed_from() {
    let root = tempfile::tempdir().unwrap();
    write_own(&root.path().join("mine"), &config());
    succeeds("export", root.path(), &["mine", "--to", "packed", "-o", "packed"]);
    let (latent, packed) = (json(root.path(), "mine"), json(root.path(), "packed"));
    for (latent, packed) in latent["tensors"].as_array().unwrap().iter().zip(packed["tensors"].as_array().unwrap()) {
        for key in ["name", "shape", "scale", "codes"] {
            assert_eq!(latent[key], packed[key], "{latent}");
        }
    }
    let found = tensor(&packed, Q_PROJ);
    assert_eq!((found["type"].as_str(), found["num_bytes"].as_u64()), (Some("2-bit"), Some(12 * 48 + 4)));
    assert_eq!((&packed["num_bytes"], &packed["is_packed"]), (&latent["num_bytes_packed"], &Value::Bool(true)));
    assert_eq!(packed["num_bytes_packed"], packed["num_bytes"]);
}

#[test]
fn the_page_is_aligned_names_what_matters_and_has_no_escapes_through_a_pipe() {
    let root = tempfile::tempdir().unwrap();
    write_own(&root.path().join("mine"), &config());
    let (page, stderr) = succeeds("inspect", root.path(), &["mine"]);
    assert!(stderr.is_empty() && !page.contains('\x1b'), "{page}");
    for part in [
        "mine\n",
        "2 layers, width 48, feed-forward 72 relu2, 4 heads, 2 of keys and values, vocabulary 36 tied, context",
        "weights ternary_absmean, activations int8_absmax, norms outside, sub-norms",
        "latent: quantized as they are used, training can go on from here",
        "with projections packed at 2 bits",
    ] {
        assert!(page.split_whitespace().collect::<Vec<_>>().join(" ").contains(part.trim()), "{part}\n{page}");
    }
    let table: Vec<&str> = page.split("\n\n").nth(1).unwrap().lines().collect();
    assert_eq!(table.len(), 1 + tensors(&config(), 1).len());
    let ends: Vec<usize> = ["model.embed_tokens ", Q_PROJ.trim_end_matches(".weight")]
        .iter()
        .map(|name| table.iter().find(|line| line.starts_with(name)).unwrap().chars().count())
        .collect();
    assert!(table[0].starts_with("tensor ") && ends.iter().all(|end| *end == table[0].chars().count()), "{page}");
}

#[test]
fn full_precision_has_no_codes() {
    let root = tempfile::tempdir().unwrap();
    let plain = foreign_config(&bare(), "llama", serde_json::json!({}));
    write_folder(&root.path().join("llama"), &plain, &stored(&tensors(&bare(), 1)));
    let report = json(root.path(), "llama");
    assert_eq!(
        (&report["codes"], &report["num_bytes_packed"], &tensor(&report, Q_PROJ)["scale"]),
        (&Value::Null, &Value::Null, &Value::Null)
    );
    assert!(succeeds("inspect", root.path(), &["llama"]).0.contains("full precision: nothing is quantized"));
}

/// Every command that reads a folder refuses `mine`, with `part` in its one error, and leaves nothing.
#[track_caller]
fn all_refuse(root: &Path, part: &str) {
    for (command, more) in [("inspect", &[][..]), ("import", &["-o", "out"]), ("export", &["--to", "packed", "-o", "out"])] {
        let message = refusal(command, root, &[&["mine"], more].concat());
        assert!(message.contains(part), "{command}: {part}: {message}");
        let names: Vec<_> = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["mine"], "{command} left something");
    }
}

fn damaged(part: &str, is_packed: bool, damage: impl FnOnce(&mut BTreeMap<String, Stored>)) {
    let root = tempfile::tempdir().unwrap();
    let latent = tensors(&config(), 1);
    let (config, mut stored) = match is_packed {
        true => (foreign_config(&config(), "bitnet", offline(Some("autobitlinear"))), packed(&latent, |scale| scale)),
        false => (own_config(&config()), stored(&latent)),
    };
    damage(&mut stored);
    write_folder(&root.path().join("mine"), &config, &stored);
    all_refuse(root.path(), part);
}

#[test]
fn numbers_and_shapes_that_cannot_be_are_refused_by_every_command() {
    let scale = format!("{Q_PROJ}_scale");
    for number in [f32::NAN, f32::INFINITY, -1.0, 0.0] {
        damaged(&format!("tensor {scale}"), true, |stored| _ = stored.insert(scale.clone(), as_f32(&(vec![1], vec![number]))));
    }
    damaged(&format!("tensor {scale} is missing"), true, |stored| _ = stored.remove(&scale));
    damaged("bits 3 are no ternary code", true, |stored| stored.get_mut(Q_PROJ).unwrap().2[7] = 0b1100);
    damaged(&format!("tensor {Q_PROJ} holds NaN at position 5"), false, |stored| {
        stored.get_mut(Q_PROJ).unwrap().2[20..24].copy_from_slice(&f32::NAN.to_le_bytes());
    });
    damaged("model.embed_tokens.weight holds inf at position 1", false, |stored| {
        stored.get_mut("model.embed_tokens.weight").unwrap().2[4..8].copy_from_slice(&f32::INFINITY.to_le_bytes());
    });
    damaged("has shape [48, 47], expected [48, 48]", false, |stored| {
        stored.insert(Q_PROJ.into(), (Dtype::F32, vec![48, 47], vec![0; 4 * 48 * 47]));
    });
    damaged("has type I64", false, |stored| _ = stored.insert(Q_PROJ.into(), (Dtype::I64, vec![48, 48], vec![0; 8 * 48 * 48])));
    damaged("has no place in the model", false, |stored| _ = stored.insert("model.extra".into(), as_f32(&(vec![1], vec![0.0]))));
    damaged(&format!("tensor {Q_PROJ} is missing"), false, |stored| _ = stored.remove(Q_PROJ));
}

#[test]
fn files_that_are_cut_short_or_lie_are_refused_by_every_command() {
    let root = tempfile::tempdir().unwrap();
    let source = write_own(&root.path().join("mine"), &config());
    let (path, config_path) = (source.join("model.safetensors"), source.join("config.json"));
    let good = fs::read(&path).unwrap();
    let lying = |length: u64| [&length.to_le_bytes()[..], &good[8..]].concat();
    for bytes in [good[..good.len() - 1].to_vec(), good[..7].to_vec(), Vec::new(), lying(u64::MAX), lying((1 << 63) - 1), lying(3)] {
        fs::write(&path, bytes).unwrap();
        all_refuse(root.path(), "model.safetensors is no valid safetensors file");
    }
    fs::write(&path, &good).unwrap();
    let config = fs::read_to_string(&config_path).unwrap();
    for (from, to, part) in [
        ("\"hidden_size\":48", "\"hidden_size\":96", "expected [36, 96]"),
        ("\"num_hidden_layers\":2", "\"num_hidden_layers\":3", "model.layers.2.self_attn.q_proj.weight is missing"),
        ("\"num_hidden_layers\":2", "\"num_hidden_layers\":9223372036854775807", "config.json"),
        ("\"vocab_size\":36", "\"vocab_size\":\"x\"", "`vocab_size` is \"x\""),
        ("{", "", "not a JSON object"),
    ] {
        assert!(config.contains(from), "{config}");
        fs::write(&config_path, config.replacen(from, to, 1)).unwrap();
        all_refuse(root.path(), part);
    }
}
