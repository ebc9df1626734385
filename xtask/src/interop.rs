use crate::steps::{Outcome, Report};
pub(crate) fn run() -> Outcome {
    Ok(Report::default())
}
