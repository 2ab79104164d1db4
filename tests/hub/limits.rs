//! Servers that send without end, or numbers that no file has.

use super::server::{COMMIT, Reply};
use super::setting::{BIG, Setting, corpus, request};

#[test]
fn a_listing_of_empty_pages_comes_to_an_end() {
    let setting = Setting::new(&corpus());
    setting.server.change(|seen, _, reply| match seen.target.contains("/tree/") {
        true => {
            let at: usize = seen.target.split("cursor=").nth(1).map_or(0, |cursor| cursor.parse().unwrap());
            let next = format!("<?recursive=true&cursor={}>; rel=\"next\"", at + 1);
            Reply::new(200).body("[]").header("Link", next)
        }
        false => reply,
    });
    let error = setting.fetch(&request(&["README.md"])).unwrap_err();
    assert!(error.to_string().contains("more than 10 pages without a file"), "{error}");
    assert_eq!(setting.server.seen().len(), 1 + 11);
}

#[test]
fn a_listing_that_leads_in_a_circle_is_noticed_at_its_first_repetition() {
    for circle in [&["0"][..], &["1", "2", "0"]] {
        let setting = Setting::new(&corpus());
        let len = circle.len();
        let next_of: Vec<String> = circle.iter().map(|at| (*at).to_owned()).collect();
        setting.server.change(move |seen, _, reply| match seen.target.contains("/tree/") {
            true => {
                let at: usize = seen.target.split("&cursor=").nth(1).map_or(0, |cursor| cursor.parse().unwrap());
                let next = if next_of[at] == "0" { String::new() } else { format!("&cursor={}", next_of[at]) };
                reply.header("Link", format!("<?recursive=true{next}>; rel=\"next\""))
            }
            false => reply,
        });
        let error = setting.fetch(&request(&["README.md"])).unwrap_err();
        assert!(error.to_string().contains("lead in a circle"), "{error}");
        assert_eq!(setting.server.seen().len(), 1 + len);
    }
}

#[test]
fn an_answer_that_is_read_as_a_whole_has_a_limit() {
    for part in ["/revision/", "/tree/"] {
        let setting = Setting::new(&corpus());
        setting.server.change(move |seen, _, reply| match seen.target.contains(part) {
            true => {
                let whole = [reply.body.clone(), vec![b' '; 16 << 20]].concat();
                reply.body(whole)
            }
            false => reply,
        });
        let error = setting.fetch(&request(&["README.md"])).unwrap_err();
        assert!(error.to_string().contains("has more than 16777216 bytes"), "{error}");
    }
}

#[test]
fn a_head_that_is_too_long_is_not_read_to_its_end() {
    let setting = Setting::new(&corpus());
    setting.server.change(|_, _, reply| reply.header("X-Long", "a".repeat(1 << 20)));
    let error = setting.fetch(&request(&["README.md"])).unwrap_err();
    assert!(error.to_string().contains("the head of the answer"), "{error}");
    assert_eq!(setting.server.seen().len(), 1, "{error}");
}

#[test]
fn a_refusal_of_any_length_is_one_line() {
    let setting = Setting::new(&corpus());
    for body in [format!(r#"{{"error":"{}"}}"#, "no ".repeat(1 << 20)), format!(r#"{{"error":"{}"}}"#, "no\\n".repeat(1000))] {
        setting.server.change(move |_, _, _| Reply::new(404).body(body.clone()));
        let error = setting.fetch(&request(&["README.md"])).unwrap_err().to_string();
        assert!(error.len() < 1000 && error.lines().count() == 2, "{error}");
        assert_eq!(setting.server.seen().len(), 1);
    }
}

#[test]
fn sizes_that_no_file_has_are_refused() {
    let true_size = format!("\"size\":{}", BIG.len());
    for size in ["-1", "1.5", "1e30", "9223372036854775808", "18446744073709551615", "18446744073709551616"] {
        let setting = Setting::new(&corpus());
        let (from, to) = (true_size.clone(), format!("\"size\":{size}"));
        setting.server.change(move |seen, _, reply| match seen.target.contains("/tree/") {
            true => {
                let text = String::from_utf8_lossy(&reply.body).replace(&from, &to).into_bytes();
                reply.body(text)
            }
            false => reply,
        });
        let error = setting.fetch(&request(&["data/big.parquet"])).unwrap_err();
        assert!(error.to_string().contains("which no file has") && error.to_string().contains("data/big.parquet"), "{size}: {error}");
        assert!(setting.all_files().is_empty());
    }
}

#[test]
fn sizes_whose_sum_no_disk_holds_are_refused() {
    let setting = Setting::new(&corpus());
    setting.server.change(|seen, _, reply| {
        let entry = |name: &str| format!(r#"{{"type":"file","oid":"{COMMIT}","size":9223372036854775807,"path":"{name}"}}"#);
        let all = format!("[{},{},{}]", entry("a"), entry("b"), entry("c"));
        if seen.target.contains("/tree/") { Reply::new(200).body(all) } else { reply }
    });
    let error = setting.fetch(&request(&["*"])).unwrap_err();
    assert!(error.to_string().contains("more than any disk holds"), "{error}");
    let error = setting.fetch(&request(&["a"])).unwrap_err();
    assert!(error.to_string().contains("bytes to fetch, and"), "{error}");
}
