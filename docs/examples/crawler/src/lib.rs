//! A crawler of one site: fetches a page, follows the links in it, and reports what it found.
//!
//! What it must not do is bounded: the number of pages, their size, the time for each, the load on the
//! server, and the addresses that a link may lead to.

use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    time::Duration,
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use httpcore::{
    ConnectionPool, ConnectionPoolBuilder, Error, ErrorKind, Timeouts,
    http::{Uri, header::CONTENT_TYPE},
    net::PublicAddresses,
};

/// Limits of a crawl.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Maximum number of pages.
    pub pages: usize,
    /// Maximum size of a page, in bytes.
    pub page_bytes: usize,
    /// Maximum number of requests at the same time.
    pub at_once: usize,
    /// Maximum time for one page.
    pub page_time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            pages: 100,
            page_bytes: 1 << 20,
            at_once: 4,
            page_time: Duration::from_secs(20),
        }
    }
}

/// What became of one page.
#[derive(Debug)]
pub enum Page {
    /// Its size in bytes.
    Fetched(usize),
    /// The server's status.
    Refused(u16),
    /// It could not be fetched.
    Failed(Error),
}

/// Settings of a pool for this program. Addresses that are not public are refused: a link may name any.
pub fn pool(limits: Limits) -> ConnectionPoolBuilder {
    ConnectionPool::builder()
        .max_requests_per_origin(limits.at_once) // over HTTP/2 as well
        .max_connections_per_origin(limits.at_once)
        .timeouts(Timeouts::default().with_total(limits.page_time))
        .address_filter(PublicAddresses::only())
}

/// Fetches `start` and what is linked from it on the same host.
pub async fn crawl(pool: &ConnectionPool, start: &Uri, limits: Limits) -> BTreeMap<String, Page> {
    let mut found = BTreeMap::new();
    let mut seen = HashSet::from([start.clone()]);
    let mut queue = VecDeque::from([start.clone()]);
    let mut running = FuturesUnordered::new();
    loop {
        while running.len() < limits.at_once
            && found.len() + running.len() < limits.pages
            && let Some(url) = queue.pop_front()
        {
            running.push(async move {
                let page = fetch(pool, &url, limits).await;
                (url, page)
            });
        }
        let Some((url, page)) = running.next().await else {
            return found;
        };
        let page = match page {
            Ok(Ok(text)) => {
                for link in links(&url, &text) {
                    if link.authority() == start.authority() && seen.insert(link.clone()) {
                        queue.push_back(link);
                    }
                }
                Page::Fetched(text.len())
            }
            Ok(Err(status)) => Page::Refused(status),
            Err(error) => Page::Failed(error),
        };
        found.insert(url.to_string(), page);
    }
}

/// The text of a page, or the status of a response that has none. A GET is repeated twice, where that may help.
async fn fetch(
    pool: &ConnectionPool,
    url: &Uri,
    limits: Limits,
) -> Result<Result<String, u16>, Error> {
    let mut pause = Duration::from_millis(200);
    for _ in 0..2 {
        match fetch_once(pool, url, limits).await {
            Err(error) if error.may_repeat(&httpcore::http::Method::GET) => {}
            outcome => return outcome,
        }
        pool.sleep(pause).await;
        pause *= 2;
    }
    fetch_once(pool, url, limits).await
}

async fn fetch_once(
    pool: &ConnectionPool,
    url: &Uri,
    limits: Limits,
) -> Result<Result<String, u16>, Error> {
    let response = pool.get(url.clone()).await?;
    if !response.status().is_success() {
        return Ok(Err(response.status().as_u16()));
    }
    let kind = response.headers().get(CONTENT_TYPE);
    if !kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/html")) {
        return Ok(Ok(String::new())); // dropped unread
    }
    Ok(Ok(response.into_body().text(limits.page_bytes).await?))
}

/// The values of `href="…"` as URLs. A real crawler uses a parser of HTML and the crate `url`.
fn links(base: &Uri, html: &str) -> Vec<Uri> {
    html.split("href=\"")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .filter_map(|link| link.split('#').next())
        .filter_map(|link| {
            let mut parts = link.parse::<Uri>().ok()?.into_parts();
            parts.path_and_query.as_ref()?;
            if parts.authority.is_none() {
                parts.authority = base.authority().cloned();
                parts.scheme = base.scheme().cloned();
            }
            Uri::from_parts(parts).ok()
        })
        .collect()
}

/// Whether the crawler was led to an address that is not public.
pub fn is_forbidden(error: &Error) -> bool {
    error.kind() == ErrorKind::AddressRefused
}
