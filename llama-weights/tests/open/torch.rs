//! Files of `torch.save`: archives, their pickles, Meta's directories and `.bin` files. ROBUSTNESS's group .pth, and more ways to lie.

mod archive;
mod bin;
mod meta;
mod mutation;
mod pickle;
pub(crate) mod written;
