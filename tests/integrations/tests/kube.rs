//! kube over a pool, against a small API server: a list, and a watch of 100,000 events that breaks and
//! resumes.

use std::{convert::Infallible, io};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use httpcore::ConnectionPool;
use httpcore_tests_integrations::{Server, Version, on_tokio};
use hyper::body::Incoming;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client, ResourceExt,
    api::ListParams,
    runtime::watcher::{self, Event},
};

const EVENTS: u64 = 100_000;
/// The first watch breaks after so many.
const BREAKS_AFTER: u64 = 30_000;
const OBJECTS: u64 = 3;
/// The request that this is: after a list, and the watcher's own.
const FIRST_WATCH: usize = 2;
/// Events in one piece of the body.
const PIECE: u64 = 100;

type AnyBody = UnsyncBoxBody<Bytes, io::Error>;

fn object(name: u64, version: u64) -> String {
    format!(
        r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"map-{name}","namespace":"default","resourceVersion":"{version}"}},"data":{{"key":"{version}"}}}}"#
    )
}

fn whole(text: String) -> AnyBody {
    Full::new(Bytes::from(text))
        .map_err(|never: Infallible| match never {})
        .boxed_unsync()
}

/// The events behind `version`. A watch that breaks does so in the middle of an event, and loses what the
/// server has not sent by then; the other one stays open.
fn watch(version: u64, breaks: bool) -> AnyBody {
    let end = if breaks { BREAKS_AFTER } else { EVENTS };
    let pieces = (version..end).step_by(PIECE as usize).map(move |from| {
        let mut piece = String::new();
        for version in from + 1..=end.min(from + PIECE) {
            let object = object(version % OBJECTS, version);
            piece += &format!("{{\"type\":\"MODIFIED\",\"object\":{object}}}\n");
        }
        Ok(Frame::data(Bytes::from(piece)))
    });
    let rest = if !breaks {
        stream::pending().left_stream()
    } else {
        let torn = Ok(Frame::data(Bytes::from_static(b"{\"type\":\"MOD")));
        stream::iter([torn, Err(io::Error::other("torn"))]).right_stream()
    };
    StreamBody::new(stream::iter(pieces).chain(rest)).boxed_unsync()
}

async fn answer(number: usize, request: Request<Incoming>) -> Response<AnyBody> {
    let uri = request.uri();
    assert_eq!(uri.path(), "/api/v1/namespaces/default/configmaps");
    let query = uri.query().unwrap_or_default();
    let body = if query.contains("watch=true") {
        let version = query
            .split('&')
            .find_map(|pair| pair.strip_prefix("resourceVersion="));
        watch(
            version
                .and_then(|version| version.parse().ok())
                .expect("a version"),
            number == FIRST_WATCH,
        )
    } else {
        let objects: Vec<_> = (0..OBJECTS).map(|name| object(name, 0)).collect();
        whole(format!(
            r#"{{"apiVersion":"v1","kind":"ConfigMapList","metadata":{{"resourceVersion":"0"}},"items":[{}]}}"#,
            objects.join(",")
        ))
    };
    let response = Response::builder().header("content-type", "application/json");
    response.body(body).expect("a response")
}

/// kube's client spawns a task, and so it needs tokio.
#[test]
fn a_list_and_a_watch_that_breaks_and_resumes_work() {
    let server = Server::start(Version::Http1, answer);
    on_tokio(ConnectionPool::builder(), |pool| {
        let server = &server;
        async move {
            // kube's requests have no authority: that of the service is taken.
            let service = pool.service_for(server.url("")).expect("an origin");
            let maps: Api<ConfigMap> = Api::namespaced(Client::new(service, "default"), "default");
            let listed = maps.list(&ListParams::default()).await.expect("a list");
            assert_eq!(listed.items.len() as u64, OBJECTS);

            let mut events = std::pin::pin!(watcher::watcher(maps, watcher::Config::default()));
            let (mut version, mut breaks, mut lists) = (0, 0, 0);
            while version < EVENTS {
                match events.try_next().await {
                    Ok(Some(Event::Apply(map))) => {
                        version += 1;
                        let seen = map.resource_version().expect("a version");
                        assert_eq!(
                            seen,
                            version.to_string(),
                            "none is lost, and none comes twice"
                        );
                    }
                    Ok(Some(Event::Init)) => lists += 1,
                    Ok(Some(Event::InitApply(_) | Event::InitDone)) => {}
                    Ok(other) => panic!("{other:?}"),
                    Err(watcher::Error::WatchFailed(_)) => breaks += 1,
                    Err(error) => panic!("{error:?}"),
                }
            }
            assert_eq!((breaks, lists), (1, 1), "it resumes where it broke");
        }
    });
    // A list, the watcher's own, and two watches.
    assert_eq!(server.requests(), 4);
}
