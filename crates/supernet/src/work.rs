//! # Work: what images were put to, counted as it is done
//!
//! A search that claims to train nothing, or to look at no image, is believed by these counts.

use serde::{Deserialize, Serialize};

/// Counts of training and inference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Work {
    /// Optimiser steps.
    pub training_steps: u64,
    /// Images in those steps.
    pub trained_images: u64,
    /// Images in forward passes alone: calibration, recomputed statistics and scoring.
    pub inferred_images: u64,
}

impl Work {
    /// One optimiser step on this many images.
    pub(crate) fn add_step(&mut self, images: usize) {
        self.training_steps += 1;
        self.trained_images += images as u64;
    }

    /// What was done since `earlier`.
    pub fn since(self, earlier: Work) -> Work {
        Work {
            training_steps: self.training_steps - earlier.training_steps,
            trained_images: self.trained_images - earlier.trained_images,
            inferred_images: self.inferred_images - earlier.inferred_images,
        }
    }
}

impl std::ops::AddAssign for Work {
    fn add_assign(&mut self, other: Self) {
        self.training_steps += other.training_steps;
        self.trained_images += other.trained_images;
        self.inferred_images += other.inferred_images;
    }
}
