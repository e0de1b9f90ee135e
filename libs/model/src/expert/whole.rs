//! Integers as JSON Schema has them: a number without a fraction, however it is written. `80.0` and `8e1` are 80; a
//! program that computes with floats writes them so.

use serde::{Deserialize, Deserializer, de::Error};

/// A number as it stands in a document.
#[derive(Deserialize)]
#[serde(untagged)]
enum Number {
    Whole(u64),
    Float(f64),
}

impl Number {
    fn whole<T: TryFrom<u64>, E: Error>(self) -> Result<T, E> {
        let (number, said) = match self {
            Number::Whole(number) => (Some(number), number.to_string()),
            // Above 2^53 a float no longer says which integer it is.
            Number::Float(number) => {
                let sound = number.fract() == 0.0 && (0.0..=9_007_199_254_740_992.0).contains(&number);
                (sound.then_some(number as u64), number.to_string())
            }
        };
        let fits = number.and_then(|number| T::try_from(number).ok());
        fits.ok_or_else(|| E::custom(format!("{said} is no integer of this field's range")))
    }
}

/// One integer.
pub(super) fn one<'de, T: TryFrom<u64>, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
    number(from)?.whole()
}

/// A list of them.
pub(super) fn list<'de, T: TryFrom<u64>, D: Deserializer<'de>>(from: D) -> Result<Vec<T>, D::Error> {
    let numbers =
        Vec::<Number>::deserialize(from).map_err(|_| D::Error::custom("expected a list of integers"))?;
    numbers.into_iter().map(Number::whole).collect()
}

fn number<'de, D: Deserializer<'de>>(from: D) -> Result<Number, D::Error> {
    Number::deserialize(from).map_err(|_| D::Error::custom("expected an integer"))
}
