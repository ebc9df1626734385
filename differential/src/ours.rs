//! Ours.

use bytes::BytesMut;
use httpcore_core_primitives::BodyLength;
use httpcore_proto_h1::codec::{Codec, Event, Framing};

use crate::{Case, End, Reading, of_map, request};

pub(crate) fn read(case: &Case) -> Reading {
    let (parts, ()) = request(case).into_parts();
    let mut codec = Codec::default();
    codec
        .encode_head(&parts, BodyLength::Known(0), &mut BytesMut::new())
        .expect("nothing is wrong with it");
    let mut input = BytesMut::from(&case.bytes[..]);
    let mut reading = Reading {
        trailers: Some(Vec::new()),
        ..Reading::default()
    };
    loop {
        match codec.decode(&mut input, case.mark.is_some()) {
            Ok(Some(Event::Informational(_))) => {}
            Ok(Some(Event::Head(head))) => {
                reading.status = head.status().as_u16();
                reading.fields = of_map(head.headers());
                if codec.framing() == Some(Framing::Switch) {
                    reading.end = End::Switched;
                }
            }
            Ok(Some(Event::Data(data))) => reading.body.extend_from_slice(&data),
            Ok(Some(Event::Trailers(map))) => reading.trailers = Some(of_map(&map)),
            Ok(Some(Event::End)) => reading.end = End::Complete,
            Ok(None) => return reading,
            Err(violation) => return Reading::refused(violation),
        }
    }
}
