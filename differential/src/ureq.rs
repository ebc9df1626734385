//! ureq-proto, which is without a connection too.

use ureq_proto::{
    BodyMode,
    client::{Call, RecvResponseResult, SendRequestResult},
};

use crate::{Case, End, Reading, of_map, request};

pub(crate) fn read(case: &Case) -> Reading {
    match try_read(case) {
        Ok(reading) => reading,
        Err(error) => Reading::refused(error),
    }
}

fn try_read(case: &Case) -> Result<Reading, ureq_proto::Error> {
    let unasked = Reading {
        end: End::Unasked,
        ..Reading::default()
    };
    let Ok(call) = Call::new(request(case)) else {
        return Ok(unasked);
    };
    let mut call = call.proceed();
    let Ok(_) = call.write(&mut [0; 4096]) else {
        return Ok(unasked);
    };
    let Ok(Some(SendRequestResult::RecvResponse(mut call))) = call.proceed() else {
        return Ok(unasked);
    };
    let mut input = &case.bytes[..];
    let mut reading = Reading::default();
    loop {
        let (used, response) = call.try_response(input, false)?;
        input = &input[used..];
        if let Some(response) = response {
            reading.status = response.status().as_u16();
            reading.fields = of_map(response.headers());
            break;
        }
        if used == 0 {
            return Ok(reading);
        }
    }
    if reading.status == 101 {
        reading.end = End::Switched;
        return Ok(reading);
    }
    let Some(RecvResponseResult::RecvBody(mut call)) = call.proceed() else {
        reading.end = End::Complete;
        return Ok(reading);
    };
    loop {
        let mut room = [0; 4096];
        let (used, filled) = call.read(input, &mut room)?;
        input = &input[used..];
        reading.body.extend_from_slice(&room[..filled]);
        if used == 0 && filled == 0 {
            break;
        }
    }
    let is_complete = match call.body_mode() {
        BodyMode::CloseDelimited => case.mark.is_some(),
        _ => call.can_proceed(),
    };
    if is_complete {
        reading.end = End::Complete;
    }
    Ok(reading)
}
