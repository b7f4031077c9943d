//! What is true of values: signs, readers, residual blocks.

use sartor_space::Role;

use super::{ImportedNetwork, Step, ValueId, Work};

/// Whether a value can be negative.
pub(super) fn signed(steps: &[Step], value: ValueId) -> bool {
    let Some(step) = value.checked_sub(1).map(|index| &steps[index]) else { return true };
    let pooled = match &step.work {
        Work::Convolution(convolution) => convolution.fixed,
        Work::Add { .. } => false,
        Work::MaxPool { .. } | Work::GlobalPool => true,
    };
    step.work.activation().signed() && (!pooled || signed(steps, step.input))
}

impl ImportedNetwork {
    /// Whether a value can be negative.
    pub fn signed(&self, value: ValueId) -> bool {
        signed(&self.steps, value)
    }

    /// The value whose integers a value shares: max pools choose, they do not compute.
    pub(super) fn root(&self, value: ValueId) -> ValueId {
        match value.checked_sub(1).map(|index| &self.steps[index]) {
            Some(step) if matches!(step.work, Work::MaxPool { .. }) => self.root(step.input),
            _ => value,
        }
    }

    /// Steps that compute with a root value, directly or behind max pools.
    pub(super) fn readers(&self, root: ValueId) -> Vec<usize> {
        let reads = |index: &usize| {
            let step = &self.steps[*index];
            let other = match step.work {
                Work::MaxPool { .. } => return false,
                Work::Add { other, .. } => Some(other),
                _ => None,
            };
            self.root(step.input) == root || other.is_some_and(|other| self.root(other) == root)
        };
        (0..self.steps.len()).filter(reads).collect()
    }

    /// Roles of the steps: a residual in a chain is a block from the layer that reads its source to the layer that is
    /// added; everything else has none.
    pub(super) fn blocks(&self) -> Vec<Role> {
        let mut roles = vec![Role::Other; self.steps.len()];
        for (index, step) in self.steps.iter().enumerate() {
            let Work::Add { other, .. } = step.work else { continue };
            let source = other.min(step.input);
            let opens = (0..index).find(|&first| first + 1 > source && self.steps[first].input == source);
            if let (Some(first), Some(last)) = (opens, index.checked_sub(1)) {
                roles[first] = Role::Expand { block: index };
                roles[last] = Role::Project { block: index };
            }
        }
        roles
    }
}
