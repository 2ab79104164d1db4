//! Where the token goes when a server leads elsewhere, and through which proxy.

use super::server::{Reply, Seen, Server};
use super::setting::{README, SECRET, Setting, corpus, request};
use bitnet::data::hub::{Environment, Proxies};
use std::io::{BufRead, BufReader, Write, copy};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// What a fetch asks for: a commit, a listing, a file.
const PARTS: [&str; 3] = ["/revision/", "/tree/", "/resolve/"];

/// `target` with a mark that no server minds.
fn marked(target: &str) -> String {
    format!("{target}{}again=1", if target.contains('?') { '&' } else { '?' })
}

fn redirect(location: String) -> Reply {
    Reply::new(307).header("Location", location)
}

#[track_caller]
fn assert_no_token(seen: &[Seen], num_at_least: usize) {
    assert!(seen.len() >= num_at_least && seen.iter().all(|seen| seen.authorization.is_none()), "{seen:?}");
}

#[test]
fn a_host_that_leads_to_itself_never_gets_the_token() {
    for part in PARTS {
        let (setting, other) = (Setting::new(&corpus()), Server::new(&corpus()));
        let elsewhere = other.address();
        setting.server.change(move |seen, _, reply| match seen.target.contains(part) {
            true => redirect(format!("{elsewhere}{}", seen.target)),
            false => reply,
        });
        // From the second host to the second host: no other host is seen on the way.
        other.change(move |seen, _, reply| match seen.target.contains("again=1") {
            true => reply,
            false => redirect(marked(&seen.target)),
        });
        let paths = setting.fetch(&request(&["README.md"])).unwrap();
        assert_eq!(std::fs::read(&paths[0]).unwrap(), README, "{part}");
        assert_no_token(&other.seen(), 2);
    }
}

#[test]
fn a_host_that_leads_back_to_the_hub_does_not_get_the_token_on_the_way() {
    for part in PARTS {
        let (setting, other) = (Setting::new(&corpus()), Server::new(&corpus()));
        let (elsewhere, back) = (other.address(), setting.server.address());
        setting.server.change(move |seen, _, reply| match seen.target.contains(part) && !seen.target.contains("again=1") {
            true => redirect(format!("{elsewhere}{}", seen.target)),
            false => reply,
        });
        other.change(move |seen, _, _| redirect(format!("{back}{}", marked(&seen.target))));
        let paths = setting.fetch(&request(&["README.md"])).unwrap();
        assert_eq!(std::fs::read(&paths[0]).unwrap(), README, "{part}");
        assert_no_token(&other.seen(), 1);
        let expected = Some(format!("Bearer {SECRET}"));
        assert!(setting.server.seen().iter().all(|seen| seen.authorization == expected), "{:?}", setting.server.seen());
    }
}

#[test]
fn no_redirect_leads_to_what_is_no_web_address() {
    for location in ["ftp://127.0.0.1/x", "file:///etc/passwd", "http://user@127.0.0.1/", "http://", "javascript:x"] {
        let setting = Setting::new(&corpus());
        setting.server.change(move |_, _, _| redirect(location.to_owned()));
        let error = setting.fetch(&request(&["README.md"])).unwrap_err();
        assert!(error.to_string().contains("leads to no address"), "{location}: {error}");
        assert_eq!(setting.server.seen().len(), 1);
    }
}

/// A proxy that tunnels every connection to `target`, whoever is asked for; the first lines that it got.
fn proxy(target: String) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let lines = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&lines);
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let (target, noted) = (target.clone(), Arc::clone(&noted));
            std::thread::spawn(move || tunnel(client, &target, &noted));
        }
    });
    (address, lines)
}

fn tunnel(mut client: TcpStream, target: &str, noted: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let head: Vec<String> = BufReader::new(client.try_clone()?).lines().map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
    noted.lock().unwrap().push(head[0].clone());
    client.write_all(b"HTTP/1.1 200 Connected\r\n\r\n")?;
    let mut server = TcpStream::connect(target)?;
    let (mut from_client, mut to_server) = (client.try_clone()?, server.try_clone()?);
    std::thread::spawn(move || copy(&mut from_client, &mut to_server));
    copy(&mut server, &mut client).map(|_| ())
}

fn proxies(address: String, except: &'static str) -> Proxies {
    Proxies::from_variables(&move |name| match name {
        "http_proxy" => Some(format!("http://{address}")),
        "no_proxy" => Some(except.to_owned()),
        _ => None,
    })
    .unwrap()
}

#[test]
fn a_hub_elsewhere_is_asked_through_the_proxy_and_one_here_is_not() {
    let setting = Setting::new(&corpus());
    let (address, lines) = proxy(setting.server.address().trim_start_matches("http://").to_owned());
    let elsewhere =
        Environment { endpoint: "http://hub.invalid".into(), proxies: proxies(address.clone(), ""), ..setting.environment.clone() };
    let fetched = |environment: &Environment| {
        bitnet::data::hub::fetch(&request(&["README.md"]), environment, &mut |_| {}, &|| false)
            .map(|paths| std::fs::read(&paths[0]).unwrap())
    };
    assert_eq!(fetched(&elsewhere).unwrap(), README);
    let through = lines.lock().unwrap().clone();
    assert!(!through.is_empty() && through.iter().all(|line| line.starts_with("CONNECT hub.invalid:80 ")), "{through:?}");

    let here = Environment { proxies: proxies(address, ""), ..setting.environment.clone() };
    assert_eq!(fetched(&here).unwrap(), README);
    assert_eq!(lines.lock().unwrap().len(), through.len());
}
