//! What a client says, where many cases have the same to say.

/// The peer broke a rule before the response's head was whole.
pub(crate) const BROKEN_HEAD: &str =
    "Protocol in Head, sent Full, response not begun, connection new, attempts 1";
/// The same, after an interim response or with a head that could be read.
pub(crate) const BROKEN_HEAD_BEGUN: &str =
    "Protocol in Head, sent Full, response begun, connection new, attempts 1";
/// The peer broke a rule after the head of a `200`.
pub(crate) const BROKEN_BODY: &str =
    "200 then Protocol in Body, sent Full, response begun, connection new, attempts 1";
/// The connection was gone before the request was sent, which then went over another one.
pub(crate) const SENT_ELSEWHERE: &str = "200 x-seen=2 \"/case\"";
/// Nothing came.
pub(crate) const NO_ANSWER: &str = "Timeout(ResponseHead) in Head, sent Full, response not begun, \
     connection new, attempts 1";
