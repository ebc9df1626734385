//! The errors that an exchange's failures become, by how far the exchange has come.

use std::io;

use httpcore_core_primitives::{ErrorKind, RequestSent, TimeoutKind};
use httpcore_proto_common::{
    failure::{Failure, PeerFailure},
    progress::{Progress, ResponseProgress},
};

fn main() {
    let steps = [
        (RequestSent::Partial, false, ResponseProgress::None),
        (RequestSent::Full, true, ResponseProgress::Started),
        (RequestSent::Full, true, ResponseProgress::Head),
    ];
    for (sent, upload_over, response) in steps {
        let progress = Progress {
            sent,
            upload_over,
            response,
        };
        let failures: [Failure; 3] = [
            Failure::Io(io::ErrorKind::ConnectionReset.into()),
            Failure::Timeout(TimeoutKind::Read),
            PeerFailure::new(ErrorKind::Protocol)
                .with_message("the status line is malformed")
                .into(),
        ];
        for failure in failures {
            println!("{:#}", failure.into_error(progress, false, 1));
        }
    }
}
