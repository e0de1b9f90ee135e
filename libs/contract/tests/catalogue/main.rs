//! Every breaking change that oasdiff documents.

mod measure;

use measure::{Outcome, figures, tried};

#[test]
fn every_change_of_the_catalogue_is_found_or_out_of_scope_with_a_reason() {
    let tried = tried().unwrap();

    let wrong: Vec<String> = tried
        .iter()
        .filter_map(|(id, outcome)| match outcome {
            Outcome::Wrong(what) => Some(format!("{id}: {what}")),
            _ => None,
        })
        .collect();
    assert!(wrong.is_empty(), "{}\n{} of {}", wrong.join("\n"), wrong.len(), tried.len());
    let figures = figures(&tried);
    assert_eq!((figures.ids, figures.out), (243, 19));
    println!(
        "{} ids: {} found as breaks, {} as notes, {} out of scope with a reason",
        figures.ids, figures.found, figures.noted, figures.out
    );
}
