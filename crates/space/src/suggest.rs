//! # The nearest valid name
//!
//! Error messages about an unknown key or name end with the valid name that was probably meant.

/// The candidate closest to `name` by edit distance, if it is close enough to be a slip of the hand.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = 2 + name.chars().count() / 3;
    candidates
        .into_iter()
        .map(|candidate| (strsim::osa_distance(name, candidate), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn finds_a_slip_and_refuses_a_stranger() {
        assert_eq!(nearest("stirde", ["stride", "blocks"]), Some("stride"));
        assert_eq!(nearest("quickstrat", ["quickstart", "cifar", "apq"]), Some("quickstart"));
        assert_eq!(nearest("zzzzzz", ["stride", "blocks"]), None);
    }
}
