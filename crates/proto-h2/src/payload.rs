//! The payload of DATA, which h2 passes by reference to the stream that it writes to.
//!
//! h2 writes and flushes each frame by itself. To write several at once without a copy, the stream
//! must keep their bytes. A payload therefore puts a handle to them into a thread-local when h2
//! calls for its slices, which is just before they are written.

use std::{cell::Cell, io::IoSlice};

use bytes::{Buf, Bytes};

thread_local! {
    /// The payload that is about to be written on this thread.
    static OFFERED: Cell<Bytes> = const { Cell::new(Bytes::new()) };
}

/// Bytes of a body, as passed to h2.
#[derive(Clone, Debug, Default)]
pub(crate) struct Payload(pub(crate) Bytes);

impl Buf for Payload {
    fn remaining(&self) -> usize {
        self.0.len()
    }

    fn chunk(&self) -> &[u8] {
        &self.0
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        // While its thread ends, the payload is copied instead.
        let _ = OFFERED.try_with(|offered| offered.set(self.0.clone()));
        self.0.chunks_vectored(slices)
    }

    fn advance(&mut self, count: usize) {
        self.0.advance(count);
    }
}

/// Takes the payload that was last offered on this thread.
pub(crate) fn offered() -> Bytes {
    OFFERED.try_with(Cell::take).unwrap_or_default()
}

/// Returns `slice` as a part of `whole`, if it is one.
pub(crate) fn part(whole: &Bytes, slice: &[u8]) -> Option<Bytes> {
    let (outer, inner) = (whole.as_ptr_range(), slice.as_ptr_range());
    let is_part = !slice.is_empty() && outer.start <= inner.start && inner.end <= outer.end;
    is_part.then(|| whole.slice_ref(slice))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_offered_is_kept_and_nothing_else() {
        let whole = Bytes::from(vec![7; 1000]);
        let payload = Payload(whole.slice(100..900));
        let mut slices = [IoSlice::new(&[]); 2];
        assert_eq!(payload.chunks_vectored(&mut slices), 1);
        let offered = offered();
        assert_eq!(part(&offered, &[7; 10]), None);
        assert_eq!(part(&offered, &whole[50..150]), None);
        let some = part(&offered, &slices[0][..300]).unwrap();
        assert_eq!((some.as_ptr(), some.len()), (whole[100..].as_ptr(), 300));
        assert!(super::offered().is_empty(), "it is offered once");
    }
}
