//! One aligned block of `f32` for all tensors of a kind, kept between calls.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::ops::{Deref, DerefMut, Range};
use std::ptr::NonNull;

/// Tensors start at multiples of this many floats (one cache line).
pub(crate) const ALIGNMENT: usize = 16;
/// Blocks of at least this many bytes ask for huge pages.
const HUGE_PAGE: usize = 1 << 21;

/// A growable, zero-initialised, cache-line aligned slice of `f32`.
#[derive(Debug)]
pub(crate) struct Arena {
    data: NonNull<f32>,
    length: usize,
}

// SAFETY: the block is owned and reached only through the usual borrows.
unsafe impl Send for Arena {}
// SAFETY: as above; shared borrows only read.
unsafe impl Sync for Arena {}

impl Default for Arena {
    fn default() -> Self {
        Self { data: NonNull::dangling(), length: 0 }
    }
}

impl Arena {
    /// Grows to at least `length` floats. Growing loses the contents; nothing happens when it is large enough.
    pub(crate) fn reserve(&mut self, length: usize) {
        if length <= self.length {
            return;
        }
        *self = Self::default();
        let layout = layout(length);
        // SAFETY: the layout has a non-zero size, since length > 0.
        let block = unsafe { alloc(layout) };
        let Some(data) = NonNull::new(block.cast::<f32>()) else { handle_alloc_error(layout) };
        advise(block, layout.size());
        // SAFETY: the block has `length` floats; zeroed only now, so that its pages appear as advised.
        unsafe { data.write_bytes(0, length) };
        *self = Self { data, length };
    }

    /// One part to write, and the rest to read.
    pub(crate) fn carve(&mut self, write: Range<usize>) -> (&mut [f32], Rest<'_>) {
        assert!(write.start <= write.end && write.end <= self.length);
        let data = self.data;
        let rest = Rest { data: self, hole: write.clone() };
        // SAFETY: the range lies inside the block, which `self` borrows mutably for as long as the slice lives; the
        // rest gives out only what does not overlap it.
        (unsafe { std::slice::from_raw_parts_mut(data.as_ptr().add(write.start), write.len()) }, rest)
    }
}

/// The part of an [`Arena`] that is not being written.
#[derive(Debug)]
pub(crate) struct Rest<'a> {
    data: &'a Arena,
    hole: Range<usize>,
}

impl<'a> Rest<'a> {
    /// A part of it; it must not overlap what is being written.
    pub(crate) fn get(&self, range: Range<usize>) -> &'a [f32] {
        assert!(range.start <= range.end && range.end <= self.data.length);
        assert!(range.end <= self.hole.start || range.start >= self.hole.end || range.is_empty());
        // SAFETY: inside the block and apart from the hole, as asserted.
        unsafe { std::slice::from_raw_parts(self.data.data.as_ptr().add(range.start), range.len()) }
    }
}

impl Deref for Arena {
    type Target = [f32];
    fn deref(&self) -> &[f32] {
        // SAFETY: `length` initialised floats belong to this block.
        unsafe { std::slice::from_raw_parts(self.data.as_ptr(), self.length) }
    }
}

impl DerefMut for Arena {
    fn deref_mut(&mut self) -> &mut [f32] {
        // SAFETY: as `deref`, and the borrow is unique.
        unsafe { std::slice::from_raw_parts_mut(self.data.as_ptr(), self.length) }
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        if self.length > 0 {
            // SAFETY: allocated by `reserve` with the same layout.
            unsafe { dealloc(self.data.as_ptr().cast(), layout(self.length)) };
        }
    }
}

fn layout(length: usize) -> Layout {
    let size = length.saturating_mul(size_of::<f32>());
    let alignment = if size >= HUGE_PAGE { HUGE_PAGE } else { ALIGNMENT * size_of::<f32>() };
    Layout::from_size_align(size, alignment).unwrap_or_else(|_| handle_alloc_error(Layout::new::<f32>()))
}

#[cfg(target_os = "linux")]
fn advise(block: *mut u8, size: usize) {
    if size >= HUGE_PAGE {
        // SAFETY: the block belongs to us and starts at a page; a refusal changes nothing.
        unsafe { libc::madvise(block.cast(), size, libc::MADV_HUGEPAGE) };
    }
}

#[cfg(not(target_os = "linux"))]
fn advise(_: *mut u8, _: usize) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn carving_gives_disjoint_parts() {
        let mut arena = Arena::default();
        arena.reserve(100);
        assert_eq!(arena.as_ptr() as usize % 64, 0);
        let (part, rest) = arena.carve(16..32);
        part.fill(1.0);
        assert!(rest.get(0..16).iter().chain(rest.get(32..100)).all(|&v| v == 0.0));
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| rest.get(31..40).len())).is_err());
        assert_eq!(arena.iter().sum::<f32>(), 16.0);
    }
}
