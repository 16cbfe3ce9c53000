//! Parts of a layer that are one dispatch for a few rows and several for many.

mod gate;
mod heads;

pub use gate::GatedMatmul;
pub use heads::HeadsMatmul;
