//! What a decoder remembers of the tokens that it has read, so that the next one costs one position: for each layer two tensors, whose last
//! axis but one counts positions. What they are is the business of `attention`.

use tch::Tensor;

/// The memory of one text, or of several of equal length; it begins empty.
#[derive(Debug, Default)]
pub struct Cache {
    pub(super) layers: Vec<LayerCache>,
}

/// The memory of one layer.
#[derive(Debug, Default)]
pub struct LayerCache {
    held: Option<[Tensor; 2]>,
}

impl Cache {
    /// Tokens that have been read.
    pub fn num_positions(&self) -> usize {
        self.layers.first().map_or(0, LayerCache::num_positions)
    }

    /// Numbers that are held, in all layers.
    pub fn num_numbers(&self) -> usize {
        self.layers.iter().filter_map(|layer| layer.held.as_ref()).flatten().map(Tensor::numel).sum()
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.layers.clear();
    }

    /// The memories of `count` layers, made where there are none yet.
    pub(super) fn layers(&mut self, count: usize) -> &mut [LayerCache] {
        self.layers.resize_with(count, LayerCache::default);
        &mut self.layers
    }
}

impl LayerCache {
    pub(super) fn num_positions(&self) -> usize {
        self.held.as_ref().map_or(0, |[first, _]| first.size()[first.dim() - 2] as usize)
    }

    /// What is held, with `new` behind it, which is held from now on.
    pub(super) fn extended_by(&mut self, new: [Tensor; 2]) -> [Tensor; 2] {
        let all = match &self.held {
            Some(held) => std::array::from_fn(|index| Tensor::cat(&[&held[index], &new[index]], -2)),
            None => new,
        };
        self.held.insert(all).each_ref().map(Tensor::shallow_clone)
    }
}
