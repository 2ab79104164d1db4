//! What is said when names are odd or servers refuse, stumble, fall silent or are no Hub.

use super::server::{Reply, sha256};
use super::setting::{BIG, README, SECRET, Setting, corpus, request};
use bitnet::Fault;
use bitnet::data::hub::{Environment, Request, is_unanswered, plan};
use std::time::Duration;

#[test]
fn names_that_leave_the_directory_are_refused_before_anything_is_fetched() {
    for name in ["../x.txt", "/etc/x.txt", "a/../../x.txt", "a\\..\\x.txt", "a\0x.txt"] {
        let setting = Setting::new(&[(name, README)]);
        let error = setting.fetch(&request(&["**"])).unwrap_err();
        assert!(error.to_string().contains("could be written outside the cache"), "{error}");
        assert!(setting.all_files().is_empty(), "{:?}", setting.all_files());
    }
}

#[test]
fn what_a_server_calls_a_hash_is_no_path() {
    for hash in ["../../../../x", "abc", "", &"G".repeat(64)] {
        let setting = Setting::new(&corpus());
        let hash = hash.to_owned();
        setting.server.change(move |_, _, reply| {
            let text = String::from_utf8_lossy(&reply.body).replace(&sha256(&BIG), &hash).into_bytes();
            if reply.status == 200 { reply.body(text) } else { reply }
        });
        let error = setting.fetch(&request(&["data/big.parquet"])).unwrap_err();
        assert!(error.to_string().contains("no hash to verify it by"), "{error}");
        assert!(setting.all_files().is_empty());
    }
}

#[test]
fn requests_that_cannot_be_are_the_users() {
    let setting = Setting::new(&corpus());
    let wrong = [
        Request { repository: "../x".into(), ..request(&["a"]) },
        Request { revision: "../x".into(), ..request(&["a"]) },
        request(&[]),
        request(&["a[b"]),
        request(&["*.csv"]),
        request(&["nowhere/*.txt"]),
        Request { revision: "none".into(), ..request(&["README.md"]) },
        Request { repository: "owner/other".into(), ..request(&["README.md"]) },
    ];
    for wanted in wrong {
        let error = setting.fetch(&wanted).unwrap_err();
        assert!(error.fault() == Fault::Input && error.hint_text().is_some(), "{error}");
    }
    let environment = Environment { endpoint: "ftp://x".into(), ..setting.environment.clone() };
    assert!(plan(&request(&["a"]), &environment, &|| false).unwrap_err().to_string().contains("HF_ENDPOINT"));
}

#[test]
fn refusals_say_what_to_do_and_are_not_repeated() {
    for (status, has_token, expected) in [
        (401, true, "token of HF_TOKEN may not read"),
        (401, false, "in HF_TOKEN"),
        (403, true, "may not read"),
        (404, true, "check its name"),
    ] {
        let mut setting = Setting::new(&corpus());
        setting.environment.token = setting.environment.token.filter(|_| has_token);
        setting.server.change(move |_, _, _| Reply::new(status).body(format!(r#"{{"error":"you, {SECRET}, may\u0007 not"}}"#)));
        let error = setting.fetch(&request(&["README.md"])).unwrap_err();
        assert!(error.fault() == Fault::Input && error.hint_text().unwrap().contains(expected), "{error}");
        assert!(error.to_string().contains("/api/datasets/owner/corpus/revision/main"), "{error}");
        assert!(!has_token || error.to_string().contains("(you, (token), may not)"), "{error}");
        assert_eq!(setting.server.seen().len(), 1);
    }
}

#[test]
fn gated_content_is_refused_with_the_same_advice() {
    let setting = Setting::new(&corpus());
    setting.server.change(|seen, _, reply| match seen.target.contains("/resolve/") {
        true => Reply::new(403).header("X-Error-Code", "GatedRepo"),
        false => reply,
    });
    let error = setting.fetch(&request(&["data/big.parquet"])).unwrap_err();
    assert!(error.to_string().contains("access has to be asked for") && error.to_string().contains("data/big.parquet"), "{error}");
}

#[test]
fn servers_in_trouble_are_asked_again_after_growing_waits() {
    for part in ["/revision/", "/tree/", "/resolve/", "/blob/"] {
        let setting = Setting::new(&corpus());
        setting.server.change(move |seen, num_earlier, reply| match seen.target.contains(part) && num_earlier < 2 {
            true => Reply::new(503),
            false => reply,
        });
        setting.fetch(&request(&["data/big.parquet"])).unwrap();
        assert_eq!(setting.waited()[..2], [Duration::from_millis(10), Duration::from_millis(20)], "{part}");
        setting.server.change(move |_, _, _| Reply::new(503));
        let error = setting.fetch(&request(&["README.md"])).unwrap_err();
        assert!(error.fault() == Fault::Ours && error.to_string().contains("tried 5 times"), "{error}");
    }
}

#[test]
fn a_server_that_was_asked_too_often_says_when_to_come_back() {
    let setting = Setting::new(&corpus());
    setting.server.change(|seen, num_earlier, reply| match seen.target.contains("/blob/") && num_earlier < 1 {
        true => Reply::new(429).header("Retry-After", 2),
        false => reply,
    });
    setting.fetch(&request(&["data/big.parquet"])).unwrap();
    assert_eq!(setting.waited().iter().sum::<Duration>(), Duration::from_secs(2));
    setting.server.change(|_, _, _| Reply::new(429).header("Retry-After", 86_400));
    let error = setting.fetch(&request(&["README.md"])).unwrap_err();
    assert!(error.to_string().contains("asked too often"), "{error}");
    assert_eq!(setting.server.seen().len(), 1, "a day is not waited");
}

#[test]
fn a_server_that_falls_silent_is_given_up() {
    for part in ["/revision/", "/blob/"] {
        let mut setting = Setting::new(&corpus());
        setting.environment.patience.stall_timeout = Duration::from_millis(200);
        setting.environment.patience.num_retries = 1;
        setting.server.change(move |seen, _, mut reply| {
            reply.stalls_after = seen.target.contains(part).then_some(10);
            reply
        });
        let error = setting.fetch(&request(&["data/big.parquet"])).unwrap_err();
        assert!(error.to_string().contains("has sent nothing for 0.2 s"), "{error}");
        assert!(!error.to_string().contains("signature"), "{error}");
    }
}

#[test]
fn a_server_that_is_not_there_is_named_after_two_tries() {
    // A name whose first part is too long to be one is not looked up anywhere.
    for endpoint in [Setting::address_of_nobody(), format!("http://{}.invalid", "a".repeat(64))] {
        let setting = Setting::new(&corpus());
        let environment = Environment { endpoint, ..setting.environment.clone() };
        let error = plan(&request(&["a"]), &environment, &|| false).unwrap_err();
        let said = error.to_string();
        assert!(said.contains("no connection to") && said.contains("check the network") && said.contains("HF_HUB_OFFLINE=1"), "{said}");
        assert!(error.exit_status() == 1 && is_unanswered(&error) && said.contains("tried 2 times"), "{said}");
        assert_eq!(setting.waited(), [Duration::from_millis(10)]);
    }
}

#[test]
fn a_file_of_certificates_that_holds_none_is_named() {
    let setting = Setting::new(&corpus());
    let path = setting.cache_dir().join("certificates.pem");
    std::fs::create_dir_all(setting.cache_dir()).unwrap();
    let environment = Environment { certificates: Some(path.clone()), ..setting.environment.clone() };
    for content in [None, Some("no certificate")] {
        content.into_iter().for_each(|content| std::fs::write(&path, content).unwrap());
        let error = plan(&request(&["a"]), &environment, &|| false).unwrap_err();
        assert!(error.fault() == Fault::Input && error.to_string().contains("certificates.pem"), "{error}");
        assert!(error.to_string().contains("SSL_CERT_FILE"), "{error}");
    }
}

#[test]
fn an_answer_that_is_no_hubs_is_said_to_be_none() {
    let setting = Setting::new(&corpus());
    for body in ["<html>", "[]", r#"{"id":"a","sha":"../.."}"#] {
        setting.server.change(move |_, _, _| Reply::new(200).body(body));
        let error = setting.fetch(&request(&["README.md"])).unwrap_err();
        assert!(error.to_string().contains("not that of a Hub") || error.to_string().contains("does not name its commit"), "{error}");
        assert_eq!(setting.server.seen().len(), 1, "{error}");
    }
    setting.server.change(|_, _, _| Reply::new(302).header("Location", "/again"));
    assert!(setting.fetch(&request(&["README.md"])).is_err());
}
