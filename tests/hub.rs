//! Files fetched from a Hub on loopback that misbehaves in every way a server can: what is in the cache afterwards, and what is said.

#[path = "hub/chat.rs"]
mod chat;
#[path = "hub/failures.rs"]
mod failures;
#[path = "hub/limits.rs"]
mod limits;
#[path = "hub/prepare_data.rs"]
mod prepare_data;
#[path = "hub/server.rs"]
mod server;
#[path = "hub/setting.rs"]
mod setting;
mod small_folder;
#[path = "hub/token.rs"]
mod token;

use bitnet::Fault;
use bitnet::data::hub::{Kind, Progress, Request, fetch, fetch_plan, plan};
use bitnet::storage::RealFileSystem;
use bitnet::storage::testing::{Answer, InterceptedFileSystem, Operation};
use server::{COMMIT, Reply, Server, git_hash, sha256};
use setting::{BIG, README, SECRET, Setting, corpus, request};
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

#[test]
fn matching_files_are_fetched_in_the_order_of_their_names_and_verified() {
    let setting = Setting::new(&corpus());
    let paths = setting.fetch(&request(&["data/*.parquet", "README.md"])).unwrap();
    let names: Vec<_> = paths.iter().map(|path| path.strip_prefix(setting.snapshot()).unwrap().to_str().unwrap()).collect();
    assert_eq!(names, ["README.md", "data/a b.parquet", "data/big.parquet"]);
    assert_eq!(std::fs::read(&paths[0]).unwrap(), README);
    assert_eq!(std::fs::read(&paths[2]).unwrap(), *BIG);
    assert!(setting.leftovers().is_empty());
}

#[test]
fn the_cache_is_laid_out_as_other_tools_expect() {
    let setting = Setting::new(&corpus());
    setting.fetch(&request(&["data/big.parquet", "README.md"])).unwrap();
    let repository = setting.repository_dir();
    assert_eq!(std::fs::read_to_string(repository.join("refs/main")).unwrap(), COMMIT);
    let link = std::fs::read_link(setting.snapshot().join("data/big.parquet")).unwrap();
    assert_eq!(link, Path::new("../../../blobs").join(sha256(&BIG)));
    assert_eq!(std::fs::read(repository.join("blobs").join(git_hash(README))).unwrap(), README);
    setting.fetch(&Request { revision: "refs/pr/1".into(), ..request(&["README.md"]) }).unwrap();
    assert_eq!(std::fs::read_to_string(repository.join("refs/refs/pr/1")).unwrap(), COMMIT);
    setting.fetch(&Request { kind: Kind::Model, ..request(&["README.md"]) }).unwrap();
    assert!(setting.cache_dir().join("models--owner--corpus/snapshots").join(COMMIT).join("README.md").exists());
}

#[test]
fn what_another_tool_put_into_the_cache_is_not_fetched_again() {
    let setting = Setting::new(&corpus());
    let repository = setting.repository_dir();
    let snapshot = repository.join("snapshots").join(COMMIT);
    std::fs::create_dir_all(repository.join("blobs")).unwrap();
    std::fs::create_dir_all(&snapshot).unwrap();
    // One file under its name, and one whose content an earlier commit had.
    std::fs::write(repository.join("blobs").join(git_hash(README)), README).unwrap();
    std::os::unix::fs::symlink(format!("../../blobs/{}", git_hash(README)), snapshot.join("README.md")).unwrap();
    std::fs::write(repository.join("blobs").join(sha256(&BIG)), &*BIG).unwrap();
    let wanted = request(&["README.md", "data/big.parquet"]);
    let planned = plan(&wanted, &setting.environment, &|| false).unwrap();
    assert!(planned.files.iter().all(|file| file.is_cached) && planned.num_missing_bytes() == 0);
    let paths = setting.fetch(&wanted).unwrap();
    assert_eq!(std::fs::read(&paths[1]).unwrap(), *BIG);
    assert_eq!(setting.server.num_content_requests(), 0);
}

#[test]
fn a_plan_says_what_is_missing_and_fetches_nothing() {
    let setting = Setting::new(&corpus());
    setting.fetch(&request(&["README.md"])).unwrap();
    let planned = plan(&request(&["**"]), &setting.environment, &|| false).unwrap();
    let summary: Vec<_> = planned.files.iter().map(|file| (file.name.as_str(), file.size, file.is_cached)).collect();
    let big = BIG.len() as u64;
    assert_eq!(summary[0], ("README.md", README.len() as u64, true));
    assert_eq!(summary[2], ("data/big.parquet", big, false));
    assert_eq!(planned.num_missing_bytes(), planned.files.iter().map(|file| file.size).sum::<u64>() - README.len() as u64);
    assert_eq!(setting.server.num_content_requests(), 1);
    let paths = fetch_plan(&planned, &setting.environment, &mut |_| {}, &|| false).unwrap();
    assert_eq!(paths.len(), corpus().len());
}

#[test]
fn progress_ends_with_all_bytes_and_never_goes_beyond() {
    let setting = Setting::new(&corpus());
    let mut last = (0, 0);
    let mut note = |progress: Progress<'_>| {
        assert!(progress.file_bytes_done <= progress.file_bytes && progress.bytes_done <= progress.bytes, "{progress:?}");
        last = (progress.bytes_done, progress.bytes);
    };
    fetch(&request(&["**"]), &setting.environment, &mut note, &|| false).unwrap();
    let size: usize = corpus().iter().map(|(_, content)| content.len()).sum();
    assert_eq!(last, (size as u64, size as u64));
}

#[test]
fn a_download_that_was_stopped_goes_on_where_it_stopped() {
    let setting = Setting::new(&corpus());
    let wanted = request(&["data/big.parquet"]);
    let num_done = AtomicUsize::new(0);
    let mut note = |progress: Progress<'_>| num_done.store(progress.bytes_done as usize, Ordering::Relaxed);
    let stop = || num_done.load(Ordering::Relaxed) > 0;
    let error = fetch(&wanted, &setting.environment, &mut note, &stop).unwrap_err();
    assert!(error.to_string().contains("stopped"), "{error}");
    let there = std::fs::metadata(&setting.leftovers()[0]).unwrap().len();
    assert!(there > 0 && there < BIG.len() as u64, "{there}");
    assert_eq!(plan(&wanted, &setting.environment, &|| false).unwrap().num_missing_bytes(), BIG.len() as u64 - there);
    let paths = setting.fetch(&wanted).unwrap();
    assert_eq!(std::fs::read(&paths[0]).unwrap(), *BIG);
    let last = setting.server.seen().into_iter().rfind(|seen| seen.is_content()).unwrap();
    assert_eq!(last.range, Some(format!("bytes={there}-")));
}

#[test]
fn a_connection_that_breaks_off_is_resumed_where_it_broke() {
    for is_chunkless in [false, true] {
        let setting = Setting::new(&corpus());
        setting.server.change(move |seen, num_earlier, mut reply| {
            if seen.is_content() && num_earlier < 3 {
                reply.breaks_after = Some(70_000);
                // Without a length, the end of the connection is the end of the body.
                return if is_chunkless { reply.header("No-Length", 1) } else { reply };
            }
            reply
        });
        let paths = setting.fetch(&request(&["data/big.parquet"])).unwrap();
        assert_eq!(std::fs::read(&paths[0]).unwrap(), *BIG);
        let ranges: Vec<_> = setting.server.seen().into_iter().filter(|seen| seen.is_content()).map(|seen| seen.range).collect();
        assert_eq!(ranges[1..], [70_000, 140_000, 210_000].map(|start| Some(format!("bytes={start}-"))));
    }
}

#[test]
fn a_server_that_ignores_ranges_is_read_from_the_start() {
    for status in [200, 206] {
        let setting = Setting::new(&corpus());
        setting.leave_partial(&BIG[..1000]);
        setting.server.change(move |seen, num_earlier, reply| match seen.is_content() && num_earlier == 0 {
            true if status == 200 => Reply::new(200).body(BIG.clone()),
            true => Reply::new(206).header("Content-Range", format!("bytes 0-{}/{}", BIG.len() - 1, BIG.len())).body(BIG.clone()),
            false => reply,
        });
        let paths = setting.fetch(&request(&["data/big.parquet"])).unwrap();
        assert_eq!(std::fs::read(&paths[0]).unwrap(), *BIG, "{status}");
    }
}

#[test]
fn a_damaged_beginning_is_thrown_away_and_fetched_anew() {
    for leftover in [vec![7; 1000], vec![7; BIG.len()], vec![7; BIG.len() + 1]] {
        let setting = Setting::new(&corpus());
        setting.leave_partial(&leftover);
        let paths = setting.fetch(&request(&["data/big.parquet"])).unwrap();
        assert_eq!(std::fs::read(&paths[0]).unwrap(), *BIG);
        assert!(setting.leftovers().is_empty());
    }
}

#[test]
fn wrong_content_never_gets_a_name() {
    for (name, content) in [("data/big.parquet", BIG.to_vec()), ("README.md", README.to_vec())] {
        let setting = Setting::new(&corpus());
        setting.server.change(move |seen, _, mut reply| {
            if seen.is_content() {
                reply.body = content.iter().map(|byte| byte ^ 1).collect();
            }
            reply
        });
        let error = setting.fetch(&request(&[name])).unwrap_err();
        assert!(error.to_string().contains("is not what it lists") && error.to_string().contains(name), "{error}");
        assert!(setting.leftovers().is_empty() && setting.blobs().is_empty() && !setting.snapshot().join(name).exists());
    }
}

#[test]
fn a_body_of_another_length_never_gets_a_name() {
    let setting = Setting::new(&corpus());
    setting.server.change(|seen, _, reply| if seen.is_content() { reply.body([&BIG[..], b"more"].concat()) } else { reply });
    let error = setting.fetch(&request(&["data/big.parquet"])).unwrap_err();
    assert!(error.to_string().contains("more than the 300000 bytes"), "{error}");
    assert!(setting.leftovers().is_empty() && setting.blobs().is_empty());
    let longer = |_: &server::Seen, _, reply: Reply| match reply.status {
        206 | 200 if reply.body.len() > 1000 => Reply::new(200).body(&BIG[..1000]),
        206 => Reply::new(416),
        _ => reply,
    };
    setting.server.change(longer);
    let error = setting.fetch(&request(&["data/big.parquet"])).unwrap_err();
    assert!(error.to_string().contains("ends after 1000 bytes"), "{error}");
    assert!(setting.blobs().is_empty());
}

#[test]
fn two_fetches_at_once_fetch_each_content_once() {
    let setting = Setting::new(&corpus());
    std::thread::scope(|scope| {
        let fetches: Vec<_> = (0..4).map(|_| scope.spawn(|| setting.fetch(&request(&["**"])).unwrap())).collect();
        for fetched in fetches {
            let paths = fetched.join().unwrap();
            assert_eq!(std::fs::read(&paths[2]).unwrap(), *BIG);
        }
    });
    let num_not_empty = corpus().iter().filter(|(_, content)| !content.is_empty()).count();
    assert_eq!(setting.server.num_content_requests(), num_not_empty);
}

#[test]
fn the_token_goes_to_the_hub_and_nowhere_else() {
    let setting = Setting::new(&corpus());
    setting.fetch(&request(&["**"])).unwrap();
    for seen in setting.server.seen() {
        let expected = (!seen.is_content_server).then(|| format!("Bearer {SECRET}"));
        assert_eq!(seen.authorization, expected, "{seen:?}");
    }
    assert!(setting.server.seen().iter().any(|seen| seen.is_content_server));
    for entry in setting.all_files() {
        assert!(!String::from_utf8_lossy(&std::fs::read(&entry).unwrap()).contains(SECRET), "{entry:?}");
    }
    assert!(!format!("{:?}", setting.environment).contains(SECRET));
}

#[test]
fn no_redirect_and_no_next_page_takes_the_token_to_another_host() {
    let setting = Setting::new(&corpus());
    let other = Server::new(&corpus());
    let elsewhere = other.address();
    setting.server.change(move |seen, _, reply| match seen.target.starts_with("/api/") {
        true => Reply::new(307).header("Location", format!("{elsewhere}{}", seen.target)),
        false => reply,
    });
    setting.fetch(&request(&["README.md"])).unwrap();
    assert!(other.seen().iter().any(|seen| seen.target.contains("cursor=4")), "{:?}", other.seen());
    assert!(other.seen().iter().all(|seen| seen.authorization.is_none()), "{:?}", other.seen());
}

#[test]
fn without_a_token_none_is_sent_whatever_the_process_has() {
    let mut setting = Setting::new(&corpus());
    setting.environment.token = None;
    setting.fetch(&request(&["README.md"])).unwrap();
    assert!(setting.server.seen().iter().all(|seen| seen.authorization.is_none()));
}

#[test]
fn offline_the_cache_is_enough_and_what_is_missing_is_named() {
    let mut setting = Setting::new(&corpus());
    let wanted = request(&["data/*.parquet"]);
    setting.fetch(&wanted).unwrap();
    setting.environment.is_offline = true;
    setting.server.heal();
    assert_eq!(setting.fetch(&wanted).unwrap().len(), 2);
    assert_eq!(setting.fetch(&request(&["data/big.parquet"])).unwrap().len(), 1);
    let error = setting.fetch(&request(&["README.md"])).unwrap_err();
    assert!(error.to_string().contains("\"README.md\" is not in the cache") && error.fault() == Fault::Input, "{error}");
    // A part of what the patterns meant is not the whole.
    std::fs::remove_file(setting.snapshot().join("data/a b.parquet")).unwrap();
    let error = setting.fetch(&wanted).unwrap_err();
    assert!(error.to_string().contains("data/a b.parquet is not in the cache"), "{error}");
    let error = setting.fetch(&Request { revision: "other".into(), ..wanted }).unwrap_err();
    assert!(error.to_string().contains("it is not in the cache") && error.to_string().contains("HF_HUB_OFFLINE"), "{error}");
    assert!(setting.server.seen().is_empty());
}

#[test]
fn a_full_disk_is_said_to_be_full_and_leaves_nothing_half_written_under_a_name() {
    let mut setting = Setting::new(&corpus());
    let num_writes = AtomicUsize::new(0);
    let full = InterceptedFileSystem::new(RealFileSystem, move |call| {
        let is_content = call.operation == Operation::Write && call.path.to_string_lossy().ends_with(".incomplete");
        match is_content && num_writes.fetch_add(1, Ordering::Relaxed) == 2 {
            true => Answer::FailHalfWay(ErrorKind::StorageFull.into()),
            false => Answer::Pass,
        }
    });
    setting.environment.file_system = Arc::new(full);
    let error = setting.fetch(&request(&["data/big.parquet"])).unwrap_err();
    assert!(bitnet::storage::is_out_of_space(&error) && error.to_string().contains("HF_HOME"), "{error}");
    assert!(setting.blobs().is_empty() && !setting.snapshot().join("data/big.parquet").exists());
    let paths = setting.fetch(&request(&["data/big.parquet"])).unwrap();
    assert_eq!(std::fs::read(&paths[0]).unwrap(), *BIG);
}

#[test]
fn a_disk_that_is_too_small_is_noticed_before_the_first_byte() {
    let mut setting = Setting::new(&corpus());
    setting.environment.file_system = Arc::new(setting::SmallDisk(RealFileSystem));
    let error = setting.fetch(&request(&["data/big.parquet"])).unwrap_err();
    assert!(error.to_string().contains("300000 bytes to fetch, and 1000 free"), "{error}");
    assert_eq!(setting.server.num_content_requests(), 0);
}
