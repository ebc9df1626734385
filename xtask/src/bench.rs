use crate::steps::{Outcome, Report};
pub(crate) fn run(_: &[String]) -> Outcome {
    Ok(Report::default())
}
