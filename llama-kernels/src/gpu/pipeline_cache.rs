//! The driver's compiled pipelines, kept by the caller from one run to the next. Files are the caller's business.
//!
//! What [`Gpu::pipeline_cache_data`] gives is a header of this crate (magic, checksum, the adapter and driver) before wgpu's
//! data: wgpu compares device and driver, but takes broken bytes for whole ones.

use wgpu::{Features, PipelineCacheDescriptor};

use super::device::Gpu;
use crate::{Error, checksum::fnv1a};

const MAGIC: &[u8; 8] = b"LLAMAPC1";

/// Magic and checksum; the key's length and the key follow, then wgpu's data.
const HEADER_BYTES: usize = 16;

impl Gpu {
    /// What the pipelines of this device depend on, as a file's name: `None` where the adapter keeps none (all but Vulkan).
    pub fn pipeline_cache_key(&self) -> Option<String> {
        if !self.device().features().contains(Features::PIPELINE_CACHE) {
            return None;
        }
        let info = self.device().adapter_info();
        let device = wgpu::util::pipeline_cache_key(&info)?;
        let driver =
            fnv1a(format!("{} {} {}", info.name, info.driver, info.driver_info).into_bytes());
        Some(format!("{device}_{driver:016x}"))
    }

    /// Keeps the pipelines made from now on for [`Gpu::pipeline_cache_data`], and takes those that `data`, given by that
    /// call in an earlier run, holds. Data that are broken or another adapter's are left out; empty data begin a cache.
    ///
    /// Returns whether `data` were taken. The second call does nothing.
    ///
    /// # Errors
    /// Faults of the device.
    pub fn cache_pipelines(&self, data: &[u8]) -> Result<bool, Error> {
        let Some(key) = self.pipeline_cache_key() else {
            return Ok(false);
        };
        let cache = &self.shared().pipelines.compiler.cache;
        if cache.get().is_some() {
            return Ok(false);
        }
        let content = unseal(data, &key);
        let made = self
            .shared()
            .faults
            .guard(|| create(self.device(), content))?;
        self.heed()?;
        Ok(cache.set(made).is_ok() && content.is_some())
    }

    /// The pipelines made since [`Gpu::cache_pipelines`] and those taken then; `None` without that call, and where the
    /// driver gives nothing.
    pub fn pipeline_cache_data(&self) -> Option<Vec<u8>> {
        let cache = self.shared().pipelines.compiler.cache.get()?;
        let content = cache.get_data()?;
        Some(seal(&content, &self.pipeline_cache_key()?))
    }
}

#[expect(unsafe_code, reason = "wgpu cannot know where the data come from")]
fn create(device: &wgpu::Device, content: Option<&[u8]>) -> wgpu::PipelineCache {
    let descriptor = PipelineCacheDescriptor {
        label: Some("pipelines"),
        data: content,
        // Data that the driver does not want are as good as none.
        fallback: true,
    };
    // SAFETY: the data were returned by `PipelineCache::get_data`: `unseal` has found this crate's magic, this adapter's and
    // driver's key, and the checksum of every byte behind them. A forged file could pass, as any file of the user's
    // that a program executes could be forged; the program keeps it where only the user writes.
    unsafe { device.create_pipeline_cache(&descriptor) }
}

fn seal(content: &[u8], key: &str) -> Vec<u8> {
    let mut body = Vec::with_capacity(4 + key.len() + content.len());
    // A key is some sixty bytes.
    body.extend_from_slice(&(key.len() as u32).to_le_bytes());
    body.extend_from_slice(key.as_bytes());
    body.extend_from_slice(content);
    [MAGIC, &fnv1a(body.iter().copied()).to_le_bytes(), &body[..]].concat()
}

/// The content of sealed data, `None` where they are broken or of another key.
fn unseal<'a>(data: &'a [u8], key: &str) -> Option<&'a [u8]> {
    let (header, body) = data.split_at_checked(HEADER_BYTES)?;
    let sum = header.strip_prefix(MAGIC)?;
    if sum != fnv1a(body.iter().copied()).to_le_bytes() {
        return None;
    }
    let (length, rest) = body.split_first_chunk::<4>()?;
    let (name, content) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    (name == key.as_bytes()).then_some(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sealed_data_open_under_their_key_alone() {
        let sealed = seal(b"pipelines", "adapter 1");
        assert_eq!(unseal(&sealed, "adapter 1"), Some(&b"pipelines"[..]));
        assert_eq!(unseal(&sealed, "adapter 2"), None);
        assert_eq!(unseal(&seal(b"", "a"), "a"), Some(&b""[..]));
    }

    #[test]
    fn broken_data_are_left_out() {
        let sealed = seal(b"pipelines", "key");
        for cut in 0..sealed.len() {
            assert_eq!(unseal(&sealed[..cut], "key"), None, "cut at {cut}");
        }
        for place in 0..sealed.len() {
            let mut bent = sealed.clone();
            bent[place] ^= 1;
            assert_eq!(unseal(&bent, "key"), None, "bent at {place}");
        }
        assert_eq!(unseal(&[&sealed[..], b"!"].concat(), "key"), None);
    }
}
