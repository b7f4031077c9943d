//! # Stratified split
//!
//! Cuts a class-balanced validation set out of the training images. Each class gives its share of the wanted number,
//! rounded by largest remainders (so the total is exact), and which of its images go is drawn per class from the seed.

use rand::seq::SliceRandom;

use super::{DataError, Images};
use crate::random::{Purpose, stream};

/// How validation images are cut from the training images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Split {
    /// Number of validation images.
    pub validation: usize,
    /// Decides which images they are.
    pub seed: u64,
}

/// What a draw is for; different draws from one seed must not be related.
#[derive(Debug, Clone, Copy)]
pub(super) enum Draw {
    Validation = 0,
    LimitTraining = 1,
    LimitTest = 2,
}

impl Split {
    /// (training, validation); disjoint, together all of `images`, each in the order of the file.
    pub(super) fn cut(&self, images: &Images, classes: usize) -> Result<(Images, Images), DataError> {
        self.check(images.len(), classes)?;
        let chosen = choose(&images.labels, classes, self.validation, self.seed, Draw::Validation);
        let mut is_chosen = vec![false; images.len()];
        chosen.iter().for_each(|&index| is_chosen[index as usize] = true);
        let rest: Vec<u32> = (0..images.len() as u32).filter(|&index| !is_chosen[index as usize]).collect();
        Ok((images.select(&rest), images.select(&chosen)))
    }

    fn check(&self, images: usize, classes: usize) -> Result<(), DataError> {
        let most = images.saturating_sub(classes);
        if (classes..=most).contains(&self.validation) {
            return Ok(());
        }
        let expected = format!("one image per class at least and one left to train on: {classes} to {most}");
        Err(DataError::Setting { key: "validation", got: self.validation, expected })
    }
}

/// Positions of `count` labels, the same share of every class, ascending; all of them when there are no more.
/// Depends on the seed only. Labels must be below `classes`.
pub fn balanced_subset(labels: &[u32], classes: usize, count: usize, seed: u64) -> Vec<u32> {
    choose(labels, classes, count, seed, Draw::LimitTraining)
}

pub(super) fn choose(labels: &[u32], classes: usize, count: usize, seed: u64, draw: Draw) -> Vec<u32> {
    let mut members = vec![Vec::new(); classes];
    (0u32..).zip(labels).for_each(|(index, &label)| members[label as usize].push(index));
    let counts: Vec<usize> = members.iter().map(Vec::len).collect();
    let mut chosen = Vec::new();
    for (class, quota) in quotas(&counts, count).into_iter().enumerate() {
        members[class].shuffle(&mut stream(seed, Purpose::Split, [draw as u64, class as u64, 0]));
        chosen.extend_from_slice(&members[class][..quota]);
    }
    chosen.sort_unstable();
    chosen
}

/// Shares of `wanted` in proportion to `counts`, by largest remainders; ties go to the smaller class number.
fn quotas(counts: &[usize], wanted: usize) -> Vec<usize> {
    let total: usize = counts.iter().sum();
    if wanted >= total {
        return counts.to_vec();
    }
    let share = |count: usize| count as u128 * wanted as u128;
    let mut quotas: Vec<usize> =
        counts.iter().map(|&count| (share(count) / total as u128) as usize).collect();
    let mut order: Vec<usize> = (0..counts.len()).collect();
    order.sort_by_key(|&class| std::cmp::Reverse(share(counts[class]) % total as u128));
    let missing = wanted - quotas.iter().sum::<usize>();
    order.into_iter().take(missing).for_each(|class| quotas[class] += 1);
    quotas
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// One image per label; the pixel is its position.
    fn images(labels: Vec<u32>) -> Images {
        Images { size: 1, channels: 1, pixels: (0..labels.len() as u8).collect(), labels }
    }

    #[test]
    fn quotas_add_up_and_follow_the_counts() {
        struct Case(&'static [usize], usize, &'static [usize]);
        for Case(counts, wanted, expected) in [
            Case(&[10, 10, 10], 6, &[2, 2, 2]),
            Case(&[10, 10, 10], 7, &[3, 2, 2]),
            Case(&[90, 10], 10, &[9, 1]),
            Case(&[5, 3], 100, &[5, 3]),
            Case(&[0, 4], 2, &[0, 2]),
        ] {
            assert_eq!(quotas(counts, wanted), expected, "{counts:?} {wanted}");
        }
    }

    #[test]
    fn impossible_sizes_are_refused() {
        let images = images((0..30).map(|i| i % 3).collect());
        for validation in [0, 2, 28, 30, usize::MAX] {
            let result = Split { validation, seed: 1 }.cut(&images, 3);
            assert!(matches!(result, Err(DataError::Setting { key: "validation", .. })), "{validation}");
        }
    }

    #[test]
    fn the_seed_decides_and_repeats() {
        let images = images((0..60).map(|i| i % 3).collect());
        let cut = |seed| Split { validation: 12, seed }.cut(&images, 3).unwrap();
        assert_eq!(cut(5), cut(5));
        assert_ne!(cut(5), cut(6));
    }

    proptest! {
        #[test]
        fn parts_are_disjoint_complete_and_balanced(per_class in 4usize..20, classes in 2usize..6, seed: u64, share in 1usize..3) {
            let all = images((0..(per_class * classes) as u32).map(|i| i % classes as u32).collect());
            let validation = classes * share;
            let (train, held_out) = Split { validation, seed }.cut(&all, classes).unwrap();
            prop_assert_eq!(held_out.class_counts(classes), vec![share; classes]);
            let mut pixels = [train.pixels, held_out.pixels].concat();
            pixels.sort_unstable();
            prop_assert_eq!(pixels, all.pixels);
        }
    }
}
