//! Crawls in virtual time.

use std::time::Duration;

use crawler::{Limits, Page, crawl, is_forbidden, pool};
use httpcore::mock::{DnsEntry, Link, MockNet, ServerStream};

/// A site with these pages, each of which takes a second.
async fn site(mut stream: ServerStream) {
    while let Ok(head) = stream.read_head().await {
        let html = match head.split(' ').nth(1).unwrap() {
            "/" => {
                r##"<a href="/a">a</a> <a href="/b#x">b</a> <a href="http://other.test/">o</a> <a href="/gone">"##
            }
            "/a" => r#"<a href="/">home</a> <a href="/c">c</a>"#,
            "/b" | "/c" => "<p>",
            "/inside" => r#"<a href="http://site.test/">"#,
            _ => {
                stream
                    .write_all("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")
                    .await
                    .unwrap();
                continue;
            }
        };
        stream.sleep(Duration::from_secs(1)).await;
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: {}\r\n\r\n",
            html.len()
        );
        if stream.write_all(head + html).await.is_err() {
            return;
        }
    }
}

fn net() -> MockNet {
    let net = MockNet::new();
    net.name("site.test", DnsEntry::addresses(["93.184.216.34"]));
    net.serve("93.184.216.34", 80, site);
    net
}

fn run(net: &MockNet, limits: Limits, start: &str) -> Vec<(String, Page)> {
    let pool = pool(limits).build(net.clone());
    let start = start.parse().unwrap();
    net.run(crawl(&pool, &start, limits)).into_iter().collect()
}

#[test]
fn pages_of_the_same_host_are_fetched_once_each() {
    let net = net();
    let found = run(&net, Limits::default(), "http://site.test/");
    let urls: Vec<&str> = found.iter().map(|(url, _)| url.as_str()).collect();
    assert_eq!(
        urls,
        ["/", "/a", "/b", "/c", "/gone"].map(|path| format!("http://site.test{path}"))
    );
    assert!(matches!(found[4].1, Page::Refused(404)));
    assert_eq!(net.elapsed(), Duration::from_secs(3)); // the links of one page at the same time
}

#[test]
fn limits_of_pages_size_and_time_hold() {
    let few = Limits {
        pages: 2,
        ..Limits::default()
    };
    assert_eq!(run(&net(), few, "http://site.test/").len(), 2);

    let small = Limits {
        page_bytes: 10,
        ..Limits::default()
    };
    let found = run(&net(), small, "http://site.test/");
    assert!(
        matches!(&found[..], [(_, Page::Failed(error))] if error.kind() == httpcore::ErrorKind::TooLarge)
    );

    let net = net();
    let short = Limits {
        page_time: Duration::from_millis(500),
        ..Limits::default()
    };
    let found = run(&net, short, "http://site.test/");
    assert!(matches!(&found[..], [(_, Page::Failed(error))] if error.is_timeout()));
    assert_eq!(net.elapsed(), Duration::from_millis(500));
}

#[test]
fn a_private_address_is_never_connected_to() {
    let net = net();
    net.name("inside.test", DnsEntry::addresses(["10.0.0.7"]));
    let inside = net.serve("10.0.0.7", 80, site);
    for start in [
        "http://inside.test/inside",
        "http://10.0.0.7/inside",
        "http://[::ffff:10.0.0.7]/inside",
    ] {
        let found = run(&net, Limits::default(), start);
        assert!(
            matches!(&found[..], [(_, Page::Failed(error))] if is_forbidden(error)),
            "{start}"
        );
    }
    assert_eq!(inside.attempts(), 0);
}

#[test]
fn a_page_is_fetched_again_after_a_reset() {
    let net = MockNet::new();
    net.name("site.test", DnsEntry::addresses(["93.184.216.34"]));
    let server = net.serve("93.184.216.34", 80, site);
    server.links([
        Link::refused(),
        Link::new().to_client(|path| path.reset_at(30)),
        Link::new(),
    ]);
    let found = run(
        &net,
        Limits {
            pages: 1,
            ..Limits::default()
        },
        "http://site.test/",
    );
    assert!(matches!(&found[..], [(_, Page::Fetched(_))]), "{found:?}");
    assert_eq!(server.attempts(), 3);
}
