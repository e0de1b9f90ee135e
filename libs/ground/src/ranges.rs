//! Settings that must lie in a range.

use std::{fmt::Display, ops::RangeInclusive};

use model::fault::Complaint;

/// Checks one setting after the other and keeps what is to be complained about, so that a person sees all of it at
/// once.
///
/// ```
/// # use ground::Ranges;
/// let mut ranges = Ranges::default();
/// ranges.check("retries", 4, 0..=3, "retries");
/// assert_eq!(ranges.done().unwrap_err()[0].message, "4 retries is out of range");
/// ```
#[derive(Debug, Default)]
pub struct Ranges(Vec<Complaint>);

impl Ranges {
    /// A number with its unit; a ratio or a [`model::Span`] needs none: an empty text.
    pub fn check<T: PartialOrd + Display>(
        &mut self,
        field: &str,
        value: T,
        range: RangeInclusive<T>,
        unit: &str,
    ) {
        if !range.contains(&value) {
            let with_unit = |text: String| format!("{text} {unit}").trim_end().to_owned();
            let message = format!("{} is out of range", with_unit(value.to_string()));
            let (least, most) = range.into_inner();
            self.complain(field, message, with_unit(format!("between {least} and {most}")));
        }
    }

    /// Something else is wrong: what, and how to cure it.
    pub fn complain(&mut self, field: &str, message: impl Into<String>, cure: impl Into<String>) {
        self.0.push(complaint(field, message, cure));
    }

    /// All complaints, if there are any.
    pub fn done(self) -> Result<(), Vec<Complaint>> {
        if self.0.is_empty() { Ok(()) } else { Err(self.0) }
    }
}

/// A complaint about one field, without a place: whoever read the settings knows where the value came from.
pub fn complaint(field: &str, message: impl Into<String>, cure: impl Into<String>) -> Complaint {
    Complaint { field: field.to_owned(), line: 0, column: 0, message: message.into(), cure: cure.into() }
}

#[cfg(test)]
mod tests {
    use model::Span;

    use super::*;

    #[test]
    fn every_setting_out_of_range_is_named_with_its_range() {
        let mut ranges = Ranges::default();

        ranges.check("least", 1, 1..=3, "retries");
        ranges.check("most", 3, 1..=3, "retries");
        ranges.check("below", 0, 1..=3, "retries");
        ranges.check("share", 0.6, 0.001..=0.5, "");
        ranges.check("drain", Span::seconds(2), Span::seconds(0)..=Span::seconds(1), "");

        let said: Vec<String> = ranges
            .done()
            .unwrap_err()
            .into_iter()
            .map(|one| format!("{}: {}: {}", one.field, one.message, one.cure))
            .collect();
        assert_eq!(
            said,
            [
                "below: 0 retries is out of range: between 1 and 3 retries",
                "share: 0.6 is out of range: between 0.001 and 0.5",
                "drain: 2s is out of range: between 0s and 1s",
            ]
        );
        assert_eq!(Ranges::default().done(), Ok(()));
    }
}
