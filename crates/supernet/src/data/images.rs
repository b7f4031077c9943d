//! Square 8-bit images with labels.

use std::path::Path;

use super::DataError;

/// Labelled square images, one after the other.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Images {
    /// Height and width in pixels.
    pub size: usize,
    /// Values per pixel: 1 (grey) or 3 (red, green, blue).
    pub channels: usize,
    /// All pixels, `[images, size, size, channels]`.
    pub pixels: Vec<u8>,
    /// One class number per image.
    pub labels: Vec<u32>,
}

impl Images {
    /// Number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// True when there is no image.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Bytes of one image.
    pub fn stride(&self) -> usize {
        self.size * self.size * self.channels
    }

    /// Pixels of one image, `[size, size, channels]`.
    ///
    /// # Panics
    /// When `index` is not below [`Images::len`].
    pub fn image(&self, index: usize) -> &[u8] {
        let stride = self.stride();
        &self.pixels[index * stride..(index + 1) * stride]
    }

    /// The images at these positions, in this order.
    ///
    /// # Panics
    /// When an index is not below [`Images::len`].
    pub fn select(&self, indices: &[u32]) -> Images {
        let mut pixels = Vec::with_capacity(indices.len() * self.stride());
        indices.iter().for_each(|&index| pixels.extend_from_slice(self.image(index as usize)));
        let labels = indices.iter().map(|&index| self.labels[index as usize]).collect();
        Images { pixels, labels, ..*self }
    }

    /// Number of images of each class from 0 to `classes` − 1.
    pub fn class_counts(&self, classes: usize) -> Vec<usize> {
        let mut counts = vec![0; classes];
        for &label in &self.labels {
            if let Some(count) = counts.get_mut(label as usize) {
                *count += 1;
            }
        }
        counts
    }

    /// Refuses labels that are not below `classes`. `path` only names the source in the error.
    pub(super) fn check_labels(&self, classes: usize, path: &Path) -> Result<(), DataError> {
        match self.labels.iter().position(|&label| label as usize >= classes) {
            None => Ok(()),
            Some(index) => {
                let label = self.labels[index];
                Err(DataError::LabelOutOfRange { path: path.into(), index, label, classes })
            }
        }
    }

    /// Refuses a split in which a class has no image.
    pub(super) fn check_classes(
        &self,
        classes: usize,
        split: &'static str,
        path: &Path,
    ) -> Result<(), DataError> {
        match self.class_counts(classes).iter().position(|&count| count == 0) {
            None => Ok(()),
            Some(class) => Err(DataError::EmptyClass { path: path.into(), split, class: class.to_string() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn select_takes_pixels_and_labels_together() {
        let images = Images { size: 1, channels: 2, pixels: vec![1, 2, 3, 4, 5, 6], labels: vec![7, 8, 9] };
        let chosen = images.select(&[2, 0]);
        assert_eq!((chosen.pixels, chosen.labels), (vec![5, 6, 1, 2], vec![9, 7]));
        assert_eq!(images.image(1), [3, 4]);
    }

    #[test]
    fn labels_and_classes_are_checked() {
        let images = Images { size: 1, channels: 1, pixels: vec![0; 3], labels: vec![0, 2, 2] };
        let path = Path::new("x");
        assert!(images.check_labels(3, path).is_ok());
        let wrong = images.check_labels(2, path);
        assert!(matches!(wrong, Err(DataError::LabelOutOfRange { index: 1, label: 2, classes: 2, .. })));
        let empty = images.check_classes(3, "training", path);
        assert!(matches!(empty, Err(DataError::EmptyClass { class, .. }) if class == "1"));
    }
}
