//! Values of JSON, looked at without asking first what they are.

use serde_json::{Map, Value};

/// The members of an object; none for anything else.
pub(crate) fn members(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flat_map(Map::iter)
}

/// The items of a list; none for anything else.
pub(crate) fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

pub(crate) fn is_true(value: &Value) -> bool {
    value.as_bool().unwrap_or(false)
}
