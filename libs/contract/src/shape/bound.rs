//! Ends of a range of numbers.

/// An end, in or out. Compared as floating-point numbers: a difference beyond 2^53 goes unseen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Bound {
    pub value: f64,
    pub is_out: bool,
}

impl Bound {
    /// The stricter of two lower ends.
    pub fn higher(self, other: Bound) -> Bound {
        if self.is_above(other) { self } else { other }
    }

    /// The stricter of two upper ends.
    pub fn lower(self, other: Bound) -> Bound {
        if self.is_below(other) { self } else { other }
    }

    /// As a lower end it leaves out something that the other one lets in.
    pub fn is_above(self, other: Bound) -> bool {
        self.value > other.value || (self.value == other.value && self.is_out && !other.is_out)
    }

    /// As an upper end it leaves out something that the other one lets in.
    pub fn is_below(self, other: Bound) -> bool {
        self.value < other.value || (self.value == other.value && self.is_out && !other.is_out)
    }

    /// The same lower end for integers, which is always in.
    pub fn up(self) -> Bound {
        let whole = self.value.ceil();
        Bound { value: if self.is_out && whole == self.value { whole + 1.0 } else { whole }, is_out: false }
    }

    /// The same upper end for integers, which is always in.
    pub fn down(self) -> Bound {
        let whole = self.value.floor();
        Bound { value: if self.is_out && whole == self.value { whole - 1.0 } else { whole }, is_out: false }
    }

    pub fn admits_above(self, number: f64) -> bool {
        number > self.value || (number == self.value && !self.is_out)
    }

    pub fn admits_below(self, number: f64) -> bool {
        number < self.value || (number == self.value && !self.is_out)
    }
}
