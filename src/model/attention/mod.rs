//! How positions exchange information: one file a variant.

mod grouped_query;

pub use grouped_query::GroupedQueryAttention;
