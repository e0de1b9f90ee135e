//! Lists: how many, of what.

use crate::{
    compare::{Comparison, Place, Side, Told},
    schemas::Meeting,
};

/// So many places of a list are compared one by one.
const PLACES: usize = 100;

impl<'a> Comparison<'a> {
    pub(crate) fn lists(&mut self, place: &Place, meeting: &Meeting<'a, '_>) {
        let (small, big) = (meeting.small, meeting.big);
        if big.min_items > small.min_items {
            self.count(place, meeting, "minItems", (Some(small.min_items), Some(big.min_items)));
        }
        if big.max_items.is_some_and(|most| small.max_items.is_none_or(|other| other > most)) {
            self.count(place, meeting, "maxItems", (small.max_items, big.max_items));
        }
        if big.unique && !small.unique && small.max_items.is_none_or(|most| most > 1) {
            let what = match place.side {
                Side::Request => "takes no item twice now",
                Side::Response => "may now hold an item twice",
            };
            self.say(place, meeting.at(place), Told::breaks("unique-items", what));
        }
        let longest = small.max_items.and_then(|most| usize::try_from(most).ok()).unwrap_or(usize::MAX);
        let placed = small.placed_items().max(big.placed_items()).min(PLACES);
        for at in 0..placed.min(longest) {
            let (old, new) = meeting.in_time(place, small.item(at), big.item(at));
            self.schema(&place.within(format!("[{at}]")), &old, &new);
        }
        if longest > placed {
            let (old, new) = meeting.in_time(place, small.item(placed), big.item(placed));
            self.schema(&place.within("[]"), &old, &new);
        }
    }
}
