//! Sources that say the same kind of thing.

/// What the streams of a log's shards have in common: `LOG_deployment` of `LOG_deployment_2`, also of what goes on there
/// under a new name after a fork (`LOG_deployment_2#2`). Any other source is alone in its family.
pub fn family(source: &str) -> &str {
    match source.rsplit_once('_') {
        Some((family, _)) if source.starts_with(LOG) => family,
        _ => source,
    }
}

/// The family of the log of these journals, such as those of `deployment`.
pub fn of_log(noun: &str) -> String {
    format!("{LOG}{}", noun.replace('-', "_"))
}

/// How the names of the streams of logs begin.
const LOG: &str = "LOG_";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_and_forks_of_one_log_are_one_family() {
        for source in ["LOG_deployment_0", "LOG_deployment_15", "LOG_deployment_2#2"] {
            assert_eq!(family(source), of_log("deployment"));
        }
        assert_eq!(family("LOG_consultation_2"), of_log("consultation"));
        for source in ["EVENTS", "my_gateway_1", "audit"] {
            assert_eq!(family(source), source);
        }
    }
}
